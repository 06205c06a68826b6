"""A small train.py with the contract of SpeechBrain's separation recipes.

What its networks and its loss meet there they meet here: they are called
through ``hparams``, the YAML's blocks are never run but their copies, every
module is reset recursively before training, the loss is called with targets
first in training, validation and on the mixture, gives one value per item,
and items below a threshold are left out.

> python separation_train.py HPARAMS.yaml

Authors
 * The speechbrain_dsn developers 2026
"""

import csv
import sys
from pathlib import Path

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.nnet import schedulers
from torch.nn import functional as F


class Separation(sb.Brain):
    """Knows nothing of gates."""

    def compute_forward(self, batch):
        """Estimates ``[B, T, C]`` and targets."""
        mix = batch.mix_sig.data.to(self.device)
        targets = [batch.s1_sig.data, batch.s2_sig.data]
        targets = torch.stack(targets, -1).to(self.device)
        mix_w = self.hparams.Encoder(mix)
        sep_h = torch.stack([mix_w] * 2) * self.hparams.MaskNet(mix_w)
        estimates = torch.stack([self.hparams.Decoder(h) for h in sep_h], -1)
        missing = mix.size(1) - estimates.size(1)
        estimates = F.pad(estimates, (0, 0, 0, max(0, missing)))
        return estimates[:, : mix.size(1)], targets

    def compute_objectives(self, predictions, targets):
        """One value per item."""
        return self.hparams.loss(targets, predictions)

    def fit_batch(self, batch):
        """Trains one batch, by its hard items."""
        predictions, targets = self.compute_forward(batch)
        loss = self.compute_objectives(predictions, targets)
        assert loss.shape == (len(targets),)
        loss = loss[loss > self.hparams.threshold].mean()
        if loss < self.hparams.loss_upper_lim:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                self.modules.parameters(), self.hparams.clip_grad_norm
            )
            self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def evaluate_batch(self, batch, stage):
        """The same loss."""
        with torch.no_grad():
            return self.compute_objectives(*self.compute_forward(batch)).mean()

    def on_stage_end(self, stage, stage_loss, epoch):
        """Logs, anneals and saves."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"si-snr": stage_loss}
            return
        stats = {"si-snr": stage_loss}
        if stage == sb.Stage.TEST:
            self.hparams.train_logger.log_stats({"test": 1}, test_stats=stats)
            return
        rate, following = self.hparams.lr_scheduler(
            [self.optimizer], epoch, stage_loss
        )
        schedulers.update_learning_rate(self.optimizer, following)
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": rate}, self.train_stats, stats
        )
        self.checkpointer.save_and_keep_only(meta=stats, min_keys=["si-snr"])

    def reset_layer_recursively(self, layer):
        """As SpeechBrain has it."""
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
        for child_layer in layer.modules():
            if layer != child_layer:
                self.reset_layer_recursively(child_layer)

    def save_results(self, test_data):
        """SI-SNR improvements."""
        folder = Path(self.hparams.output_folder)
        loader = sb.dataio.dataloader.make_dataloader(test_data)
        with open(folder / "test_results.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["snt_id", "si-snr", "si-snr_i"])
            for batch in loader:
                with torch.no_grad():
                    predictions, targets = self.compute_forward(batch)
                    mixture = targets.sum(-1, keepdim=True).expand_as(targets)
                    after, before = (
                        self.compute_objectives(x, targets).mean().item()
                        for x in (predictions, mixture.clone())
                    )
                writer.writerow([batch.id[0], -after, before - after])


def read_mixtures(path, folder):
    """A data set of mixtures and sources."""
    data = sb.dataio.dataset.DynamicItemDataset.from_csv(
        path, replacements={"data_root": folder}
    )
    names = ("mix", "s1", "s2")
    for name in names:
        data.add_dynamic_item(
            sb.dataio.dataio.read_audio,
            takes=f"{name}_wav",
            provides=f"{name}_sig",
        )
    data.set_output_keys(["id", *(f"{name}_sig" for name in names)])
    return data


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as yaml:
        hparams = load_hyperpyyaml(yaml, overrides)
    train, valid, test = (
        read_mixtures(hparams[f"{part}_data"], hparams["data_folder"])
        for part in ("train", "valid", "test")
    )
    if "pretrained_separator" in hparams:
        hparams["pretrained_separator"].collect_files()
        hparams["pretrained_separator"].load_collected()
    brain = Separation(
        modules=hparams["modules"],
        opt_class=hparams["optimizer"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    kept = "pretrained_separator" in hparams
    for module in () if kept else brain.modules.values():
        brain.reset_layer_recursively(module)
    options = hparams["dataloader_opts"]
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs=options,
        valid_loader_kwargs=options,
    )
    brain.evaluate(test, min_key="si-snr")
    brain.save_results(test)
