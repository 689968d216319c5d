"""Does it help, and how much: many runs, a baseline, statistics, and pages about them.

A study runs trials in processes of their own and reads what they leave on disk. The room may
import every other room, and never knows the command line.
"""
