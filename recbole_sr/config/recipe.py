"""The recipe in force: which keys are set, by whom, and which of them have no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recbole.utils import ModelType

from recbole_sr.config.options import Options
from recbole_sr.config.recbole_keys import empty_parts
from recbole_sr.errors import InputError
from recbole_sr.init.initialization import parameters
from recbole_sr.objectives.losses import LOSSES
from recbole_sr.objectives.regularizers import REGULARIZERS
from recbole_sr.recbole_compat.data_checks import FILTERS

__all__ = ["DEFAULT", "describe", "idle_keys", "refuse_idle_keys", "table"]

DEFAULT = "default"
_SPLIT = {"RS": [0.8, 0.1, 0.1]}  # RecBole's own
_LINES = 6
_OFF = (
    "the method is off, and {} trains as in RecBole; --config_files warm/stable_rank.yaml gives it "
    "a warm phase, warm/{}.yaml the initialisation of that name"
)


def describe(
    options: Options, settings: Mapping[str, Any], origins: Mapping[str, str]
) -> list[str]:
    """The recipe in at most six lines: model and data, phases, and who set which keys.

    Where there are too many to say, it is the user's own that are said, which stand last.
    """
    lines = [
        f"{settings['model']} on {settings['dataset']}; initialisation: {options.sr_init}",
        _off(settings) if options.off else "; ".join(_phases(options)),
    ]
    by_origin: dict[str, list[str]] = {}
    for key, origin in origins.items():
        by_origin.setdefault(origin, []).append(f"{key}: {_short(settings[key])}")
    lines += [f"{origin}: {', '.join(keys)}" for origin, keys in by_origin.items()]
    if len(lines) <= _LINES:
        return lines
    more = len(lines) - _LINES + 1
    hidden = f"keys from {more} more; `recbole-sr config` with the same arguments shows all"
    return [*lines[:2], hidden, *lines[2 + more :]]


def _off(settings: Mapping[str, Any]) -> str:
    sequential = settings["MODEL_TYPE"] == ModelType.SEQUENTIAL
    return _OFF.format(settings["model"], "transitions" if sequential else "spectral")


def table(
    settings: Mapping[str, Any], origins: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Every key, its value and who set it, the method's keys first."""
    for key in sorted(settings, key=lambda key: (not key.startswith("sr_"), key)):
        yield key, str(settings[key]), origins.get(key, DEFAULT)


def refuse_idle_keys(options: Options, given: Mapping[str, Any]) -> None:
    """Refuse a key ``given`` by the user that has no effect, where nothing says that this is meant.

    One that is set together with a value that switches it off is not refused, as files that are put
    together do that.

    Raises:
        InputError: names the key and what it needs.

    """
    for key, needs in _idle(options):
        if key in given and not any(need.partition(": ")[0] in given for need in needs):
            needed, _, value = needs[0].partition(": ")
            raise InputError(
                f"{key}: expected {needs[0]} with it, whose value here is "
                f"{getattr(options, needed)}, got {given[key]!r}; set "
                f"{needed}{f': {value}' if value else ''} too, or drop the key"
            )


def idle_keys(
    options: Options, origins: Mapping[str, str], settings: Mapping[str, Any]
) -> list[str]:
    """One sentence for each key that is set and has no effect, or makes no sense beside another."""
    sentences = [
        f"{key}: {getattr(options, key)} ({origins.get(key, DEFAULT)}) has no effect without "
        f"{' or '.join(needs)}"
        for key, needs in _idle(options)
    ]
    # The first evaluation is always the best so far, and that of the last warm epoch is too late.
    evaluations = max(options.sr_warm_epochs - 1, 0) // max(settings["eval_step"], 1)
    if (
        options.sr_switch == "metric"
        and options.sr_warm_epochs
        and evaluations <= options.sr_patience
    ):
        sentences.append(
            f"sr_switch: metric ({origins.get('sr_switch', DEFAULT)}) has no effect, as "
            f"sr_warm_epochs: {options.sr_warm_epochs} ends the warm phase before sr_patience: "
            f"{options.sr_patience} can; raise sr_warm_epochs, or lower sr_patience"
        )
    if options.sr_keep_untrained and options.initialization and (why := _unscored(settings)):
        origin = origins.get("sr_keep_untrained", DEFAULT)
        sentences.append(f"sr_keep_untrained: True ({origin}) has no effect with {why}")
    if settings["benchmark_filename"]:
        split = settings["eval_args"]["split"]
        given = {key: settings[key] for key in FILTERS if key in origins and settings[key]}
        given |= {"eval_args": f"split: {split}"} if split != _SPLIT else {}
        sentences += [
            f"{key}: {value} ({origins.get(key, DEFAULT)}) has no effect, as benchmark_filename "
            "names the parts"
            for key, value in given.items()
        ]
    loss = LOSSES.get(options.sr_loss)
    for key in ("sr_warm_regularizers", "sr_main_regularizers"):
        for name, weight in (getattr(options, key) or {}).items():
            if loss and weight and REGULARIZERS[name].function is loss.function:
                sentences.append(f"{key}: {name} is counted twice, as it is also the sr_loss")
    return sentences


def _unscored(settings: Mapping[str, Any]) -> str | None:
    """Why the untrained model has no validation score that counts."""
    stage = str(settings.get("train_stage"))
    reasons = {
        f"sr_warm_epochs: {settings['sr_warm_epochs']}": settings["sr_warm_epochs"],
        "sr_train_on: all": settings["sr_train_on"] == "all",
        f"eval_step: {settings['eval_step']}": settings["eval_step"] <= 0,
        f"train_stage: {stage}": "pretrain" in stage,
        "an eval_args without a validation part": "valid"
        in empty_parts(settings["eval_args"]["split"]),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _idle(options: Options) -> Iterator[tuple[str, list[str]]]:
    """The keys that are not at their default and have no effect, and what they need."""
    loss = LOSSES.get(options.sr_loss)
    used = {f"sr_{name}" for name in (loss.parameters if loss else ())}
    used |= {f"sr_init_{name}" for name in parameters(options.sr_init)}
    for key, field in Options.model_fields.items():
        more: Any = field.json_schema_extra
        needs: list[str] = more["needs"]
        idle = needs and key not in used and not any(_holds(options, n) for n in needs)
        if idle and getattr(options, key) != field.default:
            yield key, needs


def _holds(options: Options, need: str) -> bool:
    key, _, wanted = need.partition(": ")
    value = options.warm_regularizers if key == "sr_warm_regularizers" else getattr(options, key)
    if not wanted:
        return bool(value)
    if isinstance(value, Mapping):
        on = key != "sr_warm_regularizers" or options.sr_warm_epochs > 0
        return on and bool(value.get(wanted))
    return bool(value == wanted)


def _phases(options: Options) -> Iterator[str]:
    loss = "the model's own loss" if options.sr_loss == "model" else options.sr_loss
    target = f", stable rank held at {options.sr_target_rank}" if options.target_ranks else ""
    if options.sr_warm_epochs:
        end = (
            f"{options.sr_warm_epochs} epochs"
            if options.sr_switch == "epochs"
            else f"until {options.sr_patience} evaluations without a better score, at most "
            f"{options.sr_warm_epochs} epochs"
        )
        yield f"warm phase: {loss}{_weights(options.warm_regularizers)}{target}, {end}"
    else:
        yield "no warm phase"
    yield f"main phase: {loss}{_weights(options.sr_main_regularizers)}{target}"
    if options.popularity:
        yield f"scores: cosines + {options.popularity:g} of the logarithm of popularity"


def _weights(regularizers: Mapping[str, float]) -> str:
    return "".join(f" + {weight:g} {name}" for name, weight in regularizers.items() if weight)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
