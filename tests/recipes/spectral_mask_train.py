"""A small train.py with the contract of SpeechBrain's spectral_mask recipe.

What its model and its loss meet there they meet here: features are log1p of
the magnitude, the model gets one tensor and returns a mask, the loss is
called with relative lengths, and MetricStats calls it again with
``reduction="batch"``, in training too.

> python spectral_mask_train.py HPARAMS.yaml

Authors
 * The speechbrain_dsn developers 2026
"""

import sys

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.nnet.loss.stoi_loss import stoi_loss
from speechbrain.processing.features import spectral_magnitude
from speechbrain.utils.metric_stats import MetricStats


class MaskBrain(sb.Brain):
    """Knows nothing of gates."""

    def features(self, wavs):
        """Log magnitude."""
        spectrum = self.hparams.compute_STFT(wavs)
        return torch.log1p(spectral_magnitude(spectrum, power=0.5))

    def compute_forward(self, batch, stage):
        """Masks the noisy features."""
        noisy, _ = batch.to(self.device).noisy_sig
        feats = self.features(noisy)
        spectrum = torch.squeeze(self.modules.model(feats), 2) * feats
        return spectrum, self.hparams.resynth(torch.expm1(spectrum), noisy)

    def compute_objectives(self, predictions, batch, stage):
        """The loss, and statistics of it."""
        spectrum, wav = predictions
        clean, lens = batch.clean_sig
        target = self.features(clean)
        loss = self.hparams.compute_cost(spectrum, target, lens)
        self.losses.append(batch.id, spectrum, target, lens, reduction="batch")
        if stage != sb.Stage.TRAIN:
            self.stoi.append(batch.id, wav, clean, lens, reduction="batch")
        return loss

    def on_stage_start(self, stage, epoch=None):
        """Statistics begin anew."""
        self.losses = MetricStats(metric=self.hparams.compute_cost)
        self.stoi = MetricStats(metric=stoi_loss)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs and saves."""
        stats = {"loss": stage_loss, "signal": self.losses.summarize("average")}
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            return
        stats["stoi"] = -self.stoi.summarize("average")
        if stage == sb.Stage.VALID:
            self.hparams.train_logger.log_stats(
                {"epoch": epoch}, self.train_stats, stats
            )
            self.checkpointer.save_and_keep_only(meta=stats, max_keys=["stoi"])
        else:
            self.hparams.train_logger.log_stats({"test": 1}, test_stats=stats)


def read_pairs(path):
    """A data set of noisy and clean waveforms."""
    data = sb.dataio.dataset.DynamicItemDataset.from_json(path)
    for kind in ("noisy", "clean"):
        data.add_dynamic_item(
            sb.dataio.dataio.read_audio,
            takes=f"{kind}_wav",
            provides=f"{kind}_sig",
        )
    data.set_output_keys(["id", "noisy_sig", "clean_sig"])
    return data


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    train, valid = map(
        read_pairs, (hparams["train_annotation"], hparams["valid_annotation"])
    )
    brain = MaskBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    options = hparams["dataloader_options"]
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs=options,
        valid_loader_kwargs=options,
    )
    brain.evaluate(valid, max_key="stoi", test_loader_kwargs=options)
