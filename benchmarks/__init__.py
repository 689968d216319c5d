"""Measurements of this package beside stock RecBole: ``python -m benchmarks.NAME``.

Each prints the machine and a Markdown table. What compares with stock takes medians of 5
interleaved runs after a warm-up, all from one process. The data sets are read from
``RECBOLE_DATA`` (default ``dataset``): a folder for each, such as ``gowalla/gowalla.inter``.
``RECBOLE_DATA_SETS`` chooses them, by comma.

==============  ==================================================================================
regulariser     the stable rank of both tables on top of a stock BPR step; its kernel against the
                form by singular values
training        a training epoch of BPR, ours and stock
evaluation      full ranking, ours and stock, with the metrics of both
propagation     a LightGCN training step, ours and stock
product         ways to multiply with a graph's adjacency
rank            the stable rank of both tables while one objective alone trains
initialization  scores of the spectral initialisation before training, by its powers
gains           the pictures of results/README.md and results/recipes.md, from their tables
peers           closed forms, implicit and LensKit beside BPR's default, each tuned; goes on, too
spectral        seconds of the spectral initialisation
objectives      an epoch of each training objective beside a model's own
uniformity      exact uniformity against ``torch.pdist``, time and memory
startup         from the settings to the first batch
recipes         what the method does for a model beside stock, by candidates; goes on where it was
transitions     how well untrained item rows of sequential models predict the next item
paper           the paper's grid in its own setting, and its tables
paper_pictures  its pictures
public          recipes on LightGCN's own splits, beside published scores; goes on where it was
kinds           synthetic data whose users form a few clusters
runs            the runs of comparisons as CSV
families        an epoch and a ranking of models of each family, ours and stock
distributed     a training step of several processes
models          every listed model for one epoch of ml-100k, a process each; one run
growth          time and peak memory of a step, an initialisation, sampling and ranking, from 10^4
                to 10^7 rows
long_runs       seconds of long runs, from their epochs and rankings measured side by side
first_score     from a command to a test score, beside implicit's ALS
convert         makes RecBole's files of the data sets in results/data.md
quality         loss and metrics over 5 seeds, with a paired test
reliability     what the reliability tests try, and what they lose
settings        wrong and extreme values for each key of RecBole and of its models
==============  ==================================================================================
"""
