"""Processes that train together, as torchrun would start them, without what it takes to start."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
import traceback
import warnings

import torch

from recbole_sr.config.config import Config
from recbole_sr.distributed.group import processes
from recbole_sr.training.experiment import prepare

# A process that has imported everything, of which each one here is a fork.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["recbole_sr.training.experiment", "torch._dynamo"])


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def together(size, folder, function, *arguments):
    """What a function returns in each of several processes; of size None, in one that is alone."""
    port = free_port()
    started = [
        PROCESSES.Process(target=_one, args=(rank, size, port, folder, function, arguments))
        for rank in range(size or 1)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(600)
        process.kill()  # where another has failed
    said = [(folder / f"stderr-{rank}").read_text() for rank in range(size or 1)]
    assert not any(process.exitcode for process in started), "\n".join(said)
    results = [(folder / f"result-{rank}").read_bytes() for rank in range(size or 1)]
    return [pickle.loads(result) for result in results]  # noqa: S301


def _one(rank, size, port, folder, function, arguments):
    os.chdir(folder)
    with open(f"stderr-{rank}", "w") as file:
        os.dup2(file.fileno(), 2)
    if size is not None:
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sys.argv = ["run"]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        result = function(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the others learn of it by their connections
    with open(f"result-{rank}", "wb") as file:
        pickle.dump(result, file)


def train_all(cases):
    """The weights, epochs, scores and random state of each case, trained in float64."""
    torch.set_default_dtype(torch.float64)
    with processes(lambda: 60.0):
        return {name: _train(*case) for name, case in cases.items()}


def _train(model, files, settings):
    experiment = prepare(Config(model, "tiny", files, settings))
    result = experiment.train(saved=False)
    epochs = [
        {key: value for key, value in epoch.items() if not key.endswith("seconds")}
        for epoch in result["sr"]["epochs"]
    ]
    weights = experiment.model.state_dict()
    if part := experiment.model.sr_part:
        assert all(x.shape[1] < experiment.config["embedding_size"] for x in weights.values())
        weights = part.whole(weights)
    weights = {name: x.numpy() for name, x in weights.items()}
    scores = result["best_valid_result"], result["test_result"], result["sr"]["best_epoch"]
    return weights, epochs, scores, torch.get_rng_state().numpy()
