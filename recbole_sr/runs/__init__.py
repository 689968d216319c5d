"""What a run leaves on disk, and how it is read back: checkpoints, run state, a folder of text.

Files are written whole or not at all, and no code in them is ever run. The room imports the rooms
below it, and never knows a trainer's loop or a study.
"""
