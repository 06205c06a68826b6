"""Testing of speechbrain_dsn.

Authors
 * The speechbrain_dsn developers 2026
"""
