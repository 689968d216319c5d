"""Pages and figures about finished and unfinished runs, from what they left on disk."""
