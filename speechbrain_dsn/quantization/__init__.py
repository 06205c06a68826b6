"""Integer GRUs with a width per operator, and the search for good widths.

The idea of arXiv 2402.12263: integers only, own bit widths, a genetic search
on error and size. The scheme is ours and is described in
:mod:`speechbrain_dsn.nnet.gru_scheme`; :mod:`speechbrain_dsn.nnet.quantized`
trains, `gru` and ``gru.c`` run, `store` writes, `search` chooses.

Authors
 * The speechbrain_dsn developers 2026
"""
