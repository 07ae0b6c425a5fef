"""dvc.yaml, params.yaml and the code tell one story."""

import ast
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from pipeline import sources
from pipeline.params import KEYS

ROOT = sources.ROOT
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
MODULES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py"))

# From the bottom up; a module imports only its own layer and those before it.
DATA = """
    active seeds settings manifest task folds audio containers augment audit voice listeners
    synthesis corpora tables segments pool prepare published phones partition balance store tally
"""
MODEL = """
    layers layout batches device dropout processes encoder hub frontends hdf5 embeddings
    embeddings_writer embedder extraction nearest sampling clusters units heads losses masking lora
    cnn_lstm finetuning features
"""
WORK = """
    checkpoint waves metrics training multitask masked_prediction classifier linear predictions
    shares probes cached regression scores plots report evaluation comparison sections
    units_section share_section probe_section experiments epoch continued adaptation cached_head
    card corpora_table emotion_head judge listening onnx_model protocols summary crnn specaugment
    spectrograms
"""
LAYERS = [sources.GROUND, DATA.split(), MODEL.split(), WORK.split(), ["cli"]]


def module_of(stage: dict[str, object]) -> str:
    words = str(stage["cmd"]).split()
    assert words[:2] == ["python", "-m"]
    return words[2]


def test_dvc_never_takes_plan_from_its_run_cache() -> None:
    # It does where any output is cached; then nothing inactive would be removed.
    assert [list(out.values()) for out in STAGES["plan"]["outs"]] == [[{"cache": False}]] * 2


@pytest.mark.parametrize("name", STAGES)
def test_code_deps_are_the_import_closure(name: str) -> None:
    listed = {d for d in STAGES[name].get("deps", []) if d.endswith(".py")}
    closure = {str(path) for path in sources.closure(module_of(STAGES[name]))}
    missing, extra = sorted(closure - listed), sorted(listed - closure)
    assert (missing, extra) == ([], [])


def test_every_stage_module_is_in_the_graph() -> None:
    assert {module_of(stage) for stage in STAGES.values()} == {f"stages.{m}" for m in MODULES}


def test_stages_list_only_known_params_and_never_the_runtime() -> None:
    listed = {key.split(".")[0] for s in STAGES.values() for key in s.get("params", [])}
    assert listed - set(KEYS) == set()
    assert "runtime" not in listed


def test_a_seed_or_numerics_version_stands_for_every_computing_stage() -> None:
    exempt = {"plan", "split", "evaluate"}
    for name, stage in STAGES.items():
        assert name in exempt or "numerics_version" in stage["params"], name


def test_only_cheap_stages_have_uncached_outputs() -> None:
    """One uncached output switches DVC's run cache off for the whole stage."""
    for name, stage in STAGES.items():
        outs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        uncached = [o for o in outs if isinstance(o, dict) and "cache" in str(o)]
        assert not uncached or name in {"plan", "evaluate"}, name


def test_imports_point_down_only() -> None:
    height = {module: level for level, modules in enumerate(LAYERS) for module in modules}
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        relative = path.relative_to(ROOT / "pipeline")
        own = relative.parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in height, f"{own}: give it a layer in LAYERS"
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for imported in _own_modules(node):
                assert height[imported] <= height[own], f"{relative} imports {imported}"


def _own_modules(node: ast.AST) -> set[str]:
    if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("pipeline"):
        return set()
    parts = str(node.module).split(".")
    return {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}


@pytest.mark.parametrize("module", MODULES)
def test_help_works_without_heavy_imports(module: str) -> None:
    heavy = ("torch", "transformers", "librosa", "faiss", "sklearn", "matplotlib")
    code = (
        f"import sys, runpy; sys.argv = ['{module}', '--help']\n"
        f"try: runpy.run_module('stages.{module}', run_name='__main__')\n"
        f"except SystemExit as e: assert not e.code, e.code\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
