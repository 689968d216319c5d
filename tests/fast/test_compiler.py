"""torch's compiler is not imported where nothing is compiled, and stays what it was for others."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from tiny_data import write_tiny
from torch.optim import Optimizer

from recbole_sr.fast.compiler import stepping_without_compiler, without_compiler

TRAINED_AND_RESUMED = """
import sys
from recbole_sr import resume, run_recbole_sr

for learner in ("adam", "sparse_adam", "sgd", "adagrad"):
    result = run_recbole_sr("BPR", "tiny", config_dict={{**{settings}, "learner": learner}})
resume(result["sr"]["checkpoint"].replace(".pth", ".run.pth"))
assert "torch._dynamo" not in sys.modules
"""
COMPILED_AFTERWARDS = """
import torch

def step():
    weight.sum().backward()
    optimizer.step()
    optimizer.zero_grad()

weight = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=0.5)
torch.compile(step, backend="eager")()
assert weight.item() == 0.5
assert Optimizer.zero_grad.__wrapped__.__dynamo_disable is not Optimizer.zero_grad.__wrapped__
"""


def test_runs_do_not_import_it_and_what_follows_may_compile(tmp_path):
    settings = {**write_tiny(tmp_path / "data"), "epochs": 1, "sr_main_regularizers": {}}
    code = TRAINED_AND_RESUMED.format(settings=settings)
    code += "from torch.optim import Optimizer\n" + COMPILED_AFTERWARDS
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_an_imported_compiler_keeps_its_guards():
    import torch._dynamo

    torch.optim.SGD([torch.ones(1, requires_grad=True)]).zero_grad()
    guarded = Optimizer.zero_grad.__wrapped__
    before = guarded.__dynamo_disable
    with without_compiler():
        assert guarded.__dynamo_disable is before
    assert guarded.__dynamo_disable is before


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_hooks_closures_and_schedulers_work(name):
    kind = stepping_without_compiler(getattr(torch.optim, name))
    assert kind.__name__ == name
    assert stepping_without_compiler(getattr(torch.optim, name)) is kind
    weight = torch.ones(1, requires_grad=True)
    optimizer = kind([weight], lr=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))

    def closure():
        optimizer.zero_grad()
        loss = 2 * weight.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 2
    assert weight.item() < 1
    assert weight.requires_grad
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert seen == ["before", "after"]
