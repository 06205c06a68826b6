"""Using trained models: batches, files, streams, and evaluation.

`speechbrain_dsn.inference.enhancement` has the interface in the manner of
SpeechBrain, `.files` and `.blocks` what works on files of any length,
`.evaluation` the scores of a model.

Authors
 * The speechbrain_dsn developers 2026
"""
