"""What a user has before and after training: events to read, lists and vectors to serve.

A file of events becomes a data set that RecBole reads; a checkpoint becomes lists and embeddings
under the user's own ids. The room imports everything below it, and never knows a study.
"""
