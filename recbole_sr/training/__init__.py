"""The one pipeline: from a configuration to a trained and tested model, new or resumed.

RecBole's data sets, loaders, trainers and evaluation stay in charge; the trainer here adds the
phases. The room imports the rooms below it, and never knows a study.
"""
