"""What lies on either side of training: events on the way in, lists and vectors on the way out.

Files of events become RecBole's atomic files; a checkpoint becomes lists of items and vectors, with
the user's own ids. The room imports ``training`` and what lies below it, and never knows a study.
"""
