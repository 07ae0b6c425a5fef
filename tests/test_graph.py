"""dvc.yaml, params.yaml and the code tell one story."""

import graphlib
import subprocess
import sys

import pytest

from pipeline.ground import code
from pipeline.ground.params import KEYS
from tests.graph import STAGES, code_of, params_of

ROOT = code.ROOT
IMPORTS = {
    module: {name for name in code.imports(path) if name in found}
    for found in [code.modules("pipeline")]
    for module, path in found.items()
}
MODULES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py"))

# In the order of the data's way: a room imports from itself and from those before it.
ROOMS = [
    "ground",
    "work",
    "metrics",
    "audio",
    "corpora",
    "splits",
    "encoders",
    "embeddings",
    "units",
    "training",
    "gmp",
    "methods",
    "scoring",
    "report",
    "inference",
    "demo",
    "needs",
    "cli",
]
MOST_MODULES = 12


def module_of(stage: dict[str, object]) -> str:
    words = str(stage["cmd"]).split()
    assert words[:2] == ["python", "-m"]
    return words[2]


def test_dvc_never_takes_plan_from_its_run_cache() -> None:
    # It does where any output is cached; then nothing inactive would be removed.
    assert [list(out.values()) for out in STAGES["plan"]["outs"]] == [[{"cache": False}]] * 3


@pytest.mark.parametrize("name", sorted(set(STAGES) - set(code.WITHOUT)))
def test_a_stage_depends_on_its_own_key_of_code_yaml(name: str) -> None:
    own = module_of(STAGES[name]).removeprefix("stages.")
    assert code_of(STAGES[name]) == [code.key_of(own, "${item.corpus}")]
    assert not any(dep.startswith(("pipeline", "stages")) for dep in STAGES[name].get("deps", []))


def test_no_edit_of_code_has_plan_prune() -> None:
    assert code_of(STAGES["plan"]) == []
    assert "deps" not in STAGES["plan"]


def test_every_stage_module_is_in_the_graph() -> None:
    assert {module_of(stage) for stage in STAGES.values()} == {f"stages.{m}" for m in MODULES}


def test_stages_list_only_known_params_and_never_the_runtime() -> None:
    listed = {key.split(".")[0] for s in STAGES.values() for key in params_of(s)}
    assert listed - set(KEYS) == set()
    assert "runtime" not in listed


def test_a_seed_or_numerics_version_stands_for_every_computing_stage() -> None:
    exempt = {"code", "plan", "split", "evaluate"}
    for name, stage in STAGES.items():
        assert name in exempt or "numerics_version" in params_of(stage), name


def test_only_cheap_stages_have_uncached_outputs() -> None:
    """One uncached output that is no metric switches DVC's run cache off for the whole stage."""
    for name, stage in STAGES.items():
        outs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        uncached = [o for o in outs if isinstance(o, dict) and "cache" in str(o)]
        assert not uncached or name in {"code", "plan", "evaluate"}, name


def test_the_library_is_folders_alone_and_the_tests_mirror_it() -> None:
    inside = {path.name for path in (ROOT / "pipeline").iterdir() if path.name != "__pycache__"}
    assert inside == {"__init__.py", *ROOMS}
    mirrored = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert mirrored - {"faults", "slurm", "stages", "__pycache__"} <= set(ROOMS)


def test_rooms_are_small_and_their_inits_empty() -> None:
    for init in (ROOT / "pipeline").rglob("__init__.py"):
        assert init.read_text("utf-8") == ""
        modules = len(list(init.parent.glob("[a-z]*.py")))
        assert modules <= MOST_MODULES or init.parent.name == "parsers", init.parent


def test_imports_point_up_the_list_of_rooms_only() -> None:
    for module, imported in IMPORTS.items():
        for other in imported:
            order = [ROOMS.index(name.split(".")[1]) for name in (other, module)]
            assert order == sorted(order), f"{module} imports {other}"


@pytest.mark.parametrize("graph", ["modules", "folders"])
def test_no_cycle(graph: str) -> None:
    if graph == "modules":
        edges = IMPORTS
    else:
        edges = {}
        for module, imported in IMPORTS.items():
            folder = module.rpartition(".")[0]
            others = {other.rpartition(".")[0] for other in imported} - {folder}
            edges[folder] = edges.get(folder, set()) | others
    # Raises CycleError, which names the cycle.
    graphlib.TopologicalSorter(edges).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_help_works_without_heavy_imports(module: str) -> None:
    heavy = ("torch", "transformers", "librosa", "faiss", "sklearn", "matplotlib")
    program = (
        f"import sys, runpy; sys.argv = ['{module}', '--help']\n"
        f"try: runpy.run_module('stages.{module}', run_name='__main__')\n"
        f"except SystemExit as e: assert not e.code, e.code\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
