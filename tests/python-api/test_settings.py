# SPDX-License-Identifier: MIT
"""Settings: what the program accepts, refuses and hashes, Python does in the same words."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import llenergymeasure
import pytest
from conftest import SOURCE, llem, resolved
from hypothesis import given
from hypothesis import strategies as st
from llenergymeasure import ConfigError, ExperimentConfig, StudyConfig, config
from pydantic import BaseModel, ValidationError

SCHEMA = json.loads((SOURCE / "docs/schemas/experiment-file.schema.json").read_text())
MINIMAL: dict[str, Any] = {"task": {"model": "gpt2"}}


def problems(error: ValidationError) -> list[tuple[tuple[Any, ...], str]]:
    return [(e["loc"], e["msg"]) for e in error.errors()]


def dump(section: BaseModel) -> Any:
    return json.loads(section.model_dump_json())


# ---- against the program ------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(-2, 200, allow_nan=False),
    st.sampled_from(["", "x", "auto", "float32", "16", "yes", "1e-3", "gpt2", "\u00e9\U0001f600"]),
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Mostly what a setting may be, and now and then anything."""
    options: list[st.SearchStrategy[Any]] = [scalars]
    if "enum" in schema:
        options += [st.sampled_from(schema["enum"])] * 3
    if "properties" in schema:
        options = [sections(schema)] * 9 + [scalars]
    elif "default" in schema:
        options += [st.just(schema["default"])] * 2
    return st.one_of(options)


def sections(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    known = st.fixed_dictionaries(
        {}, optional={k: values(v) for k, v in schema["properties"].items() if k != "version"})
    odd = st.dictionaries(st.sampled_from(["odd", "n_prompt", "batchsize", "a.b"]), scalars,
                          max_size=1)
    return st.tuples(known, st.one_of(st.just({}), st.just({}), odd)).map(
        lambda pair: {**pair[0], **pair[1]})


few = st.lists(st.sampled_from(sorted(SCHEMA["properties"])), max_size=4).flatmap(
    lambda names: sections({"properties": {
        n: SCHEMA["properties"][n] for n in [*names, "task"]}}))


@given(few)
def test_python_accepts_and_refuses_what_the_program_does(
    tmp_path: pathlib.Path, data: dict[str, Any]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    run = llem("run", "--dry-run", str(path))
    try:
        made = ExperimentConfig.model_validate(data)
    except ValidationError as error:
        assert run.returncode == 2, run.stdout
        told = re.sub(rf"(?m)^(llem: )?{re.escape(str(path))}:\d+:\d+: ", "", run.stderr)
        told = re.sub(r" \(YAML reads .* in quotes\)", "", told)  # objects are no YAML
        told = re.sub(r"(?m)^warning: .*\n", "", told)
        assert sorted(m for _, m in problems(error)) == sorted(told.strip().splitlines())
        return
    assert run.returncode == 0, run.stderr
    tree = json.loads(run.stdout)
    mine = dump(made)
    assert {k: mine[k] for k in tree if k in mine} == {k: tree[k] for k in tree if k in mine}
    assert f"Hash {made.measurement_config_hash}." in run.stderr
    # The object is as good as the file, also after a copy, a dump and a change that is none.
    assert ExperimentConfig.model_validate(made.model_dump(exclude_unset=True)) == made
    assert made.model_copy(deep=True).measurement_config_hash == made.measurement_config_hash


@pytest.mark.parametrize("name", sorted(
    p.name for p in (SOURCE / "tests/data/yaml").glob("*.yaml")))
def test_every_bad_file_is_refused_as_the_program_refuses_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(SOURCE / "tests/data/yaml")
    run = llem("run", "--dry-run", name)
    a_study = name.startswith("study-")
    try:
        made = (StudyConfig if a_study else ExperimentConfig).from_file(name)
    except (ValidationError, ConfigError) as error:
        assert run.returncode == 2
        lines = run.stderr.replace("llem: ", "", 1).strip().splitlines()
        told = "\n".join(m for _, m in problems(error)) if isinstance(
            error, ValidationError) else str(error)
        for line in lines[:3]:
            assert line in told or line.startswith(("hint:", "(and "))
    else:
        assert run.returncode == 0
        if isinstance(made, ExperimentConfig):
            assert f"Hash {made.measurement_config_hash}." in run.stderr


def test_what_counts_as_given_survives_file_and_object(tmp_path: pathlib.Path) -> None:
    """measurement.warmup.mode auto asks whether n_warmup was given."""
    path = tmp_path / "a.yaml"
    path.write_text("task: {model: gpt2}\nmeasurement: {warmup: {n_warmup: 5}}\n")
    made = ExperimentConfig.from_file(path)
    assert made.model_fields_set == {"task", "measurement"}
    assert made.measurement.model_fields_set == {"warmup"}
    assert made.measurement.warmup.model_fields_set == {"n_warmup"}
    assert ExperimentConfig.model_validate(MINIMAL).measurement.warmup.model_fields_set == set()


def test_a_preset_fills_and_is_not_given(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("task: {model: gpt2}\nsampling_preset: standard\n")
    made = ExperimentConfig.from_file(path)
    assert made.transformers is not None and made.transformers.sampling is not None
    assert made.transformers.sampling.temperature == 1.0
    assert "transformers" not in made.model_fields_set
    assert f"Hash {made.measurement_config_hash}." in llem("run", "--dry-run", str(path)).stderr


def test_paths_stay_relative_to_the_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "a.yaml"
    path.write_text("task: {model: ./nowhere, dataset: {source: builtin}}\nengine: cpu\n")
    made = ExperimentConfig.from_file(path)
    assert made.task.model == "./nowhere"
    with pytest.raises(llenergymeasure.LLEMError) as caught:
        llenergymeasure.run_experiment(made)
    assert "below/./nowhere" in str(caught.value)


def test_the_users_configuration_counts(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "config" / "llenergymeasure"
    there.mkdir(parents=True)
    (there / "config.yaml").write_text("measurement: {energy_sampler: estimate}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = ExperimentConfig.model_validate(MINIMAL)
    assert made.measurement.energy_sampler == "estimate"
    (there / "config.yaml").write_text("measurement: {energy_sampler: steam}\n")
    with pytest.raises(ValidationError, match="config.yaml|energy_sampler"):
        ExperimentConfig.model_validate(MINIMAL)


# ---- errors -------------------------------------------------------------------------------------


def test_errors_tell_their_places_all_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig.model_validate({
            "task": {"model": "gpt2", "dataset": {"n_prompts": 0}}, "engin": "cpu",
            "measurement": {"warmup": {"n_warmup": "many"}},
            "passthrough_kwargs": {"lora": 1},
        })
    assert [p[0] for p in problems(caught.value)] == [
        ("task", "dataset", "n_prompts"), ("engin",), ("measurement", "warmup", "n_warmup"),
        ("passthrough_kwargs", "lora")]
    assert caught.value.errors()[0]["input"] == 0
    assert 'did you mean "engine"' in str(caught.value)
    assert caught.value.title == "ExperimentConfig"


def test_a_section_on_its_own_is_validated_with_places_in_itself() -> None:
    with pytest.raises(ValidationError) as caught:
        config.WarmupConfig(n_warmup=0)
    assert problems(caught.value)[0][0] == ("n_warmup",)
    with pytest.raises(ValidationError) as caught:
        config.VLLMConfig.model_validate({"engine": {"block_size": 7}})
    assert problems(caught.value)[0][0] == ("engine", "block_size")
    with pytest.raises(ValidationError):
        config.LoRAConfig()
    assert config.LoRAConfig(adapter_id="a/b").merge_weights is False
    with pytest.raises(ValidationError, match="task.model is missing"):
        config.TaskConfig.model_validate({})


def test_sections_are_objects_or_maps_and_may_be_changed() -> None:
    made = ExperimentConfig(
        task=config.TaskConfig(model="gpt2"), engine=config.Engine.CPU,
        cpu=config.CPUConfig(threads=2))
    assert made == ExperimentConfig.model_validate(
        {"task": {"model": "gpt2"}, "engine": "cpu", "cpu": {"threads": 2}})
    assert made.engine is config.Engine.CPU
    before = made.measurement_config_hash
    made.measurement.warmup.n_warmup = 7
    assert made.measurement_config_hash != before
    made.task.random_seed = "x"  # type: ignore[assignment]
    with pytest.raises(ValidationError, match="random_seed must be a whole number"):
        _ = made.measurement_config_hash


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf"), b"x", 1j])
def test_what_no_file_can_hold_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig.model_validate({**MINIMAL, "passthrough_kwargs": {"a": [1, value]}})
    assert problems(caught.value)[0][0] == ("passthrough_kwargs", "a", 1)


def test_values_of_other_libraries_become_plain() -> None:
    import numpy

    made = ExperimentConfig.model_validate({
        "task": {"model": pathlib.Path("gpt2"), "random_seed": numpy.int64(3)},
        "measurement": {"baseline": {"duration_seconds": numpy.float32(7.5)}},
        "passthrough_kwargs": {"x": (1, 2)}})
    assert (made.task.model, made.task.random_seed) == ("gpt2", 3)
    assert made.measurement.baseline.duration_seconds == 7.5
    assert made.passthrough_kwargs == {"x": [1, 2]}


def test_warnings_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    config.TransformersConfig.model_validate({"batchsize": 3})
    assert [(r.name, r.levelname) for r in caplog.records] == [
        ("llenergymeasure.config", "WARNING")]
    assert "did you mean" in caplog.text


def test_a_wrong_map_is_refused() -> None:
    wrong: list[Any] = [[], "x", 3, None]
    for data in wrong:
        with pytest.raises(ValidationError, match="must be a map"):
            ExperimentConfig.model_validate(data)
    with pytest.raises(ValidationError, match="no name of a setting"):
        ExperimentConfig.model_validate({**MINIMAL, 3: 4})


# ---- engines found at run time ------------------------------------------------------------------


def test_an_engine_found_at_run_time_has_its_section(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "engines" / "shell"
    there.mkdir(parents=True)
    (there / "engine.yaml").write_text(
        "name: shell\nhelp: a shell\ncommand: [sh]\noptions:\n"
        "  - {path: ., type: section, help: options}\n"
        "  - {path: speed, type: int, default: 3, min: 1, help: how fast}\n")
    monkeypatch.setenv("LLEM_PLUGIN_PATH", str(tmp_path / "engines"))
    made = ExperimentConfig.model_validate({**MINIMAL, "engine": "shell", "shell": {}})
    assert made.engine == "shell"
    assert made.shell == {"speed": 3}  # type: ignore[attr-defined]
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig.model_validate({**MINIMAL, "engine": "shell", "shell": {"speed": 0}})
    assert problems(caught.value)[0][0] == ("shell", "speed")
    monkeypatch.delenv("LLEM_PLUGIN_PATH")
    with pytest.raises(ValidationError):
        ExperimentConfig.model_validate({**MINIMAL, "engine": "shell"})
    made = ExperimentConfig.model_validate({**MINIMAL, "engine": "python:a:B"})
    assert made.engine == "python:a:B"


# ---- the generated classes ----------------------------------------------------------------------


def test_the_generated_classes_are_current() -> None:
    run = subprocess.run(
        [sys.executable, str(SOURCE / "tools/make_python_models.py"), "--check"],
        capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_setting_has_type_default_and_words(tmp_path: pathlib.Path) -> None:
    """The classes' defaults, which editors show, are those that the program fills in."""
    path = tmp_path / "a.yaml"
    path.write_text("task: {model: gpt2}\n")

    def compare(cls: type[BaseModel], tree: Any, where: str) -> int:
        count = 0
        source = (SOURCE / "python/llenergymeasure/_settings.py").read_text()
        for name, field in cls.model_fields.items():
            words = rf'(?m)^    {name}: .*\n(        .*\n|    \].*\n)*    """.'
            assert re.search(words, source), name
            inner = field.annotation
            if name not in (tree or {}):
                continue  # what belongs to the study
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                count += compare(inner, tree[name], f"{where}.{name}")
            elif not field.is_required():
                assert field.get_default(call_default_factory=True) == tree[name], where + name
                count += 1
        return count

    assert compare(config.ExperimentConfig, resolved(path), "") > 30
