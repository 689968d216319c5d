"""From property files, dictionaries and the command line to one validated configuration.

The keys of the method with their defaults, RecBole's own keys, recipes, and a look at data files
before RecBole reads them. The room imports ``models``, ``init``, ``distributed``, ``objectives``
and ``recbole_compat``, and never knows a trainer, a checkpoint or a study.
"""
