"""What RecBole 1.2.1 needs on numpy 2, scipy 1.13, pandas 3 and later, and one fault on any.

One function for each break, named after what it mends, with the version from which it is needed.
All act on RecBole's own modules, but for names such as ``np.float`` that numpy 1 and 2 lack; they
change no right number on older packages.
"""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial, wraps
from itertools import chain, count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
import tqdm.auto
from colorama.ansitowin32 import StreamWrapper
from recbole.config import Config
from recbole.data import interaction
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset, dataset, kg_dataset, sequential_dataset
from recbole.evaluator import Collector, Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.metrics import TailPercentage
from recbole.trainer import trainer
from recbole.utils import FeatureType, case_study, logger, url, utils

from recbole_sr.errors import InputError, first_line
from recbole_sr.recbole_compat.data_checks import check_data

__all__ = ["mend", "mend_model", "without_boards"]


@cache
def mend() -> None:
    """Have RecBole's settings, data sets and evaluation work on today's packages.

    Called before RecBole reads anything; the second call does nothing.
    """
    name_numpys_types()
    plain_metrics()
    metrics_of_items()
    fill_missing_values()
    fill_missing_sequences()
    lengths_of_sequences()
    writable_columns()
    folders_made_at_once()
    log_files_of_their_own()
    users_without_items()
    wrap_output_once()
    bars_that_go()
    warnings_of_recboles_own_calls()
    check_data()


def mend_model(model_class: type) -> None:
    """Have a model, or the one that it is derived from, build its graph and read its files."""
    for ancestor in model_class.__mro__:
        if ancestor.__module__.startswith("recbole.model."):
            update_sparse_dictionaries(sys.modules[ancestor.__module__])
            read_no_code(sys.modules[ancestor.__module__])


class _With:
    """A module with some of its names replaced, for one of RecBole's modules.

    Args:
        module: what is imported there.
        names: what takes the place of its own.

    """

    def __init__(self, module: Any, **names: Any):
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def name_numpys_types() -> None:
    """Since numpy 2.0: ``np.float_``, ``np.complex_`` and ``np.unicode_`` are gone.

    RecBole adds to numpy the names that numpy 1.24 removed (``configurator.py:625``).
    """
    types = {
        "bool": np.bool_,
        "int": np.int_,
        "float": np.float64,
        "complex": np.complex128,
        "object": np.object_,
        "str": np.str_,
        "long": np.int_,
        "unicode": np.str_,
    }

    def compatibility_settings(_: Any) -> None:
        for name, scalar_type in types.items():
            vars(np).setdefault(name, scalar_type)

    Config.compatibility_settings = compatibility_settings


def plain_metrics() -> None:
    """Since numpy 2.0: a result prints as ``np.float64(0.2847)``.

    A metric of the user's own may give a tensor, upper case, or no name that is ``valid_metric``.
    """
    evaluate = Evaluator.evaluate

    def plain(self: Any, collected: Any) -> OrderedDict[str, float]:
        scores = evaluate(self, collected)
        # By their text, as GAUC's float32 would show more digits.
        found = OrderedDict((name.lower(), float(str(np.asarray(x)))) for name, x in scores.items())
        wanted = self.config["valid_metric"]
        if wanted.lower() not in found:
            raise InputError(
                f"valid_metric: expected one of those evaluated, {', '.join(found)}, got "
                f"{wanted!r}; correct it, or the names that the metric gives"
            )
        return found

    Evaluator.evaluate = plain


def metrics_of_items() -> None:
    """On any stack: ItemCoverage, GiniIndex, AveragePopularity and TailPercentage stop.

    The collector moves all that it holds to the processor, also the numbers and counters of the
    training data (``collector.py:227``), which the loader of a knowledge graph does not hand out
    (``collector.py:87``). Tail items are looked up in a list (``metrics.py:727``).
    """
    prepare, collect = Collector.__init__, Collector.data_collect

    def init(self: Any, config: Any) -> None:
        prepare(self, config)
        for part in ("valid", "test") if self.register.need("rec.items") else ():
            drawn = config[f"{part}_neg_sample_args"]["sample_num"]
            if isinstance(drawn, int) and max(self.topk) > drawn + 1:
                raise InputError(
                    f"topk: expected at most {drawn + 1}, the candidates of a user by eval_args "
                    f"(mode), for metrics of the items in a list, got {max(self.topk)}; lower topk "
                    "or draw more candidates"
                )

    def data_collect(self: Any, train_data: Any) -> None:
        self.data_struct = DataStruct()  # what an evaluation that broke off has left goes
        collect(self, SimpleNamespace(dataset=train_data._dataset))

    def get_data_struct(self: Any) -> DataStruct:
        collected, self.data_struct = self.data_struct, DataStruct()
        for name, value in collected._data_dict.items():
            if isinstance(value, torch.Tensor):
                collected.set(name, value.cpu())
            else:  # of the training data
                self.data_struct.set(name, value)
        return collected

    def get_tail(self: Any, items: Any, counts: dict[int, int]) -> Any:
        if self.tail > 1:
            tail = [item for item, count in counts.items() if count <= self.tail]
        else:
            by_count = sorted(counts, key=lambda item: (counts[item], item))
            tail = by_count[: max(int(len(by_count) * self.tail), 1)]
        return np.isin(items, tail).astype(items.dtype)

    Collector.__init__ = init
    Collector.data_collect = data_collect
    Collector.get_data_struct = get_data_struct
    TailPercentage.get_tail = get_tail


def update_sparse_dictionaries(module: Any) -> None:
    """Since scipy 1.13: ``dok_matrix._update``, by which graph models fill a matrix, is gone.

    (``lightgcn.py:111`` and the like in GCMC, KGIN, MCCLK, NCL, NGCF and SpectralCF)
    """
    if vars(module).get("sp") is sp and not hasattr(sp.dok_matrix, "_update"):
        module.sp = _With(sp, dok_matrix=_DictionaryMatrix)


def read_no_code(module: Any) -> None:
    """On any version: pretrained files can run code, the environment or ``allow_pickle`` willing.

    (``convncf.py:82``, ``nais.py:127``, ``neumf.py:84``, ``ract.py:75``, ``kd_dagfm.py:56``,
    ``s3rec.py:120``; ``ldiffrec.py:232``)
    """
    source = inspect.getsource(module)
    if "torch.load(" in source and not isinstance(module.torch, _With):
        module.torch = _With(torch, load=partial(_read, partial(torch.load, weights_only=True)))
    if "np.load(" in source and not isinstance(module.np, _With):
        module.np = _With(np, load=lambda file, **_: _read(np.load, file))


def _read(load: Callable[..., Any], file: Any, **settings: Any) -> Any:
    try:
        return load(file, **settings)
    except Exception as error:  # a damaged or hostile file raises anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run the code
            reason = "more than tensors and plain data, or damaged ones"
        raise InputError(
            f"{file}: expected pretrained weights as recbole_sr saves them, without code, got "
            f"{reason}; check the path, or train them with recbole-sr"
        ) from None


class _DictionaryMatrix(sp.dok_matrix):
    """Takes entries by ``_update`` as before."""

    def _update(self, entries: dict[tuple[int, int], float]) -> None:
        self._dict.update(entries)


def fill_missing_values() -> None:
    """Since pandas 3.0: ``frame[field].fillna(inplace=True)`` fills a copy, without a word.

    Missing tokens would become the smallest integer, and missing numbers stay NaN
    (``dataset.py:648``).
    """

    def fill(self: Any) -> None:
        for feat in (getattr(self, name) for name in self.feat_name_list):
            for field in feat:
                kind, column = self.field2type[field], feat[field]
                if kind == FeatureType.TOKEN:
                    feat[field] = column.fillna(0)
                elif kind == FeatureType.FLOAT:
                    feat[field] = column.fillna(column.mean())
                else:
                    dtype = np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64
                    empty = np.array([], dtype=dtype)
                    feat[field] = [empty if isinstance(x, float) else x for x in column]

    Dataset._fill_nan = fill


def fill_missing_sequences() -> None:
    """Since pandas 3.0: a missing cell of a ``*_seq`` column stays NaN (``dataset.py:501``).

    Text comes as objects, as it did before pandas had a type for it. What RecBole then fills in
    vain is filled already, so that pandas' warnings about it go.
    """
    load = Dataset._load_feat

    def read_csv(*args: Any, **kwargs: Any) -> pd.DataFrame:
        frame = pd.read_csv(*args, **kwargs)
        for column in frame.select_dtypes(exclude="number"):
            frame[column] = frame[column].astype(object)
            if column.endswith("_seq"):
                frame[column] = frame[column].fillna("")
        return frame

    def quietly(self: Any, *args: Any) -> pd.DataFrame | None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A value is (being|trying to be) set on a copy")
            return load(self, *args)

    Dataset._load_feat = quietly
    dataset.pd = _With(pd, read_csv=read_csv)


def lengths_of_sequences() -> None:
    """Since pandas 3.0: ``column.agg(len)`` is the number of rows and no longer the lengths.

    In ``sequential_dataset.py:165`` that is the length of every user's history, without a word;
    elsewhere (``dataset.py:712``, ``kg_dataset.py:316`` and others) an error.
    """

    def length(value: Any) -> Any:
        return value.map(len) if isinstance(value, pd.Series) else len(value)

    for module in (dataset, kg_dataset, sequential_dataset):
        module.len = length


def writable_columns() -> None:
    """Since pandas 3.0: a column's array is read-only, and tensors share it.

    (``dataset.py:2202``, and ``interaction.py:31`` of an ``Interaction`` made from a frame)
    """
    convert, to_tensor = Dataset._dataframe_to_interaction, interaction._convert_to_tensor

    def writable(values: Any) -> Any:
        array = np.asarray(values)
        return array if array.flags.writeable else array.copy()

    def from_writable(self: Any, data: pd.DataFrame) -> Any:
        columns = {field: SimpleNamespace(values=writable(data[field].values)) for field in data}
        return convert(self, columns)

    def to_own_tensor(data: Any) -> Any:
        return to_tensor(writable(data) if isinstance(data, np.ndarray) else data)

    Dataset._dataframe_to_interaction = from_writable
    interaction._convert_to_tensor = to_own_tensor


def folders_made_at_once() -> None:
    """On any version: of runs that start together all but one fail to make ``saved`` or ``log``.

    (``utils.py:55``, which looks whether a folder is there before it makes it)
    """
    utils.os = _With(os, makedirs=partial(os.makedirs, exist_ok=True))


def log_files_of_their_own() -> None:
    """On any version: runs that start in one second write to one log file (``logger.py:89``).

    In one process all runs do, as only the first sets up logging.
    """
    handlers: list[logging.Handler] = []

    def own_file(path: str) -> logging.FileHandler:
        stem, suffix = os.path.splitext(path)
        for name in chain([path], (f"{stem}-{number}{suffix}" for number in count(2))):
            with suppress(FileExistsError):
                return logging.FileHandler(name, mode="x")
        raise AssertionError  # count() does not end

    def set_up(**settings: Any) -> None:
        for handler in handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        handlers[:] = settings["handlers"]
        logging.basicConfig(**settings)

    logger.logging = _With(logging, FileHandler=own_file, basicConfig=set_up)


def users_without_items() -> None:
    """On any stack: RecBole's case study stops on users without items in the evaluated part.

    Of a sequential model it leaves them out, so that scores stand in other users' rows
    (``case_study.py:49``).
    """
    prepare, full_sort_scores = FullSortEvalDataLoader.__init__, case_study.full_sort_scores

    def init(self: Any, config: Any, dataset: Any, sampler: Any, shuffle: bool = False) -> None:
        prepare(self, config, dataset, sampler, shuffle)
        if not self.is_sequential:
            for user, history in enumerate(self.uid2history_item):
                if history is None:
                    seen = torch.tensor(list(sampler.used_ids[user]), dtype=torch.int64)
                    self.uid2history_item[user] = seen

    @wraps(full_sort_scores)
    def scores(uid_series: Any, model: Any, test_data: Any, device: Any = None) -> torch.Tensor:
        if test_data.is_sequential:
            users = test_data._dataset.inter_feat[test_data._dataset.uid_field]
            for user in uid_series:
                if (count := int((users == int(user)).sum())) != 1:
                    raise InputError(
                        f"uid_series: expected users with one sequence each in this part, got "
                        f"{user}, who has {count}; leave the user out"
                    )
        return full_sort_scores(uid_series, model, test_data, device)

    FullSortEvalDataLoader.__init__ = init
    case_study.full_sort_scores = scores


def wrap_output_once() -> None:
    """On any stack: each run wraps the output once more, until a few hundredth cannot write.

    (``logger.py``'s ``init``)
    """
    wrap = logger.init

    def init(**kwargs: Any) -> None:
        if not isinstance(sys.stderr, StreamWrapper):
            wrap(**kwargs)

    logger.init = init


def bars_that_go() -> None:
    """On any stack: every epoch leaves two bars behind, in a notebook as text (``trainer.py:222``).

    That of a download is drawn into files, too (``url.py:74``).
    """
    trainer.tqdm = partial(tqdm.auto.tqdm, leave=False)
    url.tqdm = partial(tqdm.tqdm, disable=None)


def warnings_of_recboles_own_calls() -> None:
    """On any stack: what torch, pandas and numpy say of RecBole's code, which users cannot mend."""
    for where, message in (
        ("trainer", "`torch.cuda.amp.(GradScaler|autocast)"),  # deprecated
        ("data", "using <function lengths_of_sequences"),  # pandas 2: a deprecated call
        ("model", "divide by zero encountered in power"),  # entities without edges; set to 0 after
        ("model", "torch.sparse.SparseTensor"),  # deprecated
        ("model", "Creating a tensor from a list of numpy.ndarrays"),  # slow, once
        ("model", "Sparse CSR tensor support is in beta"),
    ):
        warnings.filterwarnings("ignore", message, module=rf"recbole\.{where}\.")


class _NoBoard:
    """TensorBoard's writer, of which nothing is written."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


@contextmanager
def without_boards() -> Iterator[None]:
    """On any stack: each of several processes makes a folder for TensorBoard (``utils.py:208``)."""
    own = trainer.get_tensorboard
    trainer.get_tensorboard = lambda _: _NoBoard()
    try:
        yield
    finally:
        trainer.get_tensorboard = own
