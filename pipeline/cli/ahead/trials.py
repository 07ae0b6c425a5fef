"""The trials of a search: each an experiment of DVC, its score on dev, and what a kill leaves.

A study is a journal in the scratch store, which Optuna reads and writes. What is tried next follows
from the seed and the finished trials alone, so that a search that was killed goes on as if it had
not been: the trial that was under way runs again.
"""

from collections.abc import Sequence
from typing import Any, get_args

from pipeline.cli.ahead import dev
from pipeline.cli.ahead.space import Space
from pipeline.cli.dvc import dvc
from pipeline.ground import ending, locks
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say
from pipeline.methods.finetuning import Network
from pipeline.scoring.active import System
from pipeline.scoring.experiments import Experiment
from pipeline.work.seeds import derive

# What is noted of a trial, and of a study.
SETTINGS, EXPERIMENT, REASON, KILLED = "settings", "experiment", "reason", "killed"
TESTED, SPACE = "tested", "space"


def study(name: str, system: System, space: Space) -> Any:
    """The study of this name, new or as it was left; a trial that a kill cut off is queued again.

    Raises:
        PipelineError: There is one of another classifier or space, or the extra is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise PipelineError("search: no optuna, run `pip install -e '.[search]'`") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = locks.scratch_root() / "search" / f"{name}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    found = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )
    told = {"system": "/".join(system), **{key: repr(one) for key, one in sorted(space.items())}}
    if found.user_attrs.setdefault(SPACE, told) != told:
        raise PipelineError(
            f"{path}: a search of another classifier or space, give this one another --name"
        )
    found.set_user_attr(SPACE, told)
    for trial in found.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        optuna.trial.Trial(found, trial._trial_id).set_user_attr(KILLED, True)
        found.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        found.enqueue_trial(trial.params)
    return found


def finished(found: Any) -> list[Any]:
    """The trials that ran to an end, scored or failed, without those that a kill cut off."""
    return [
        one
        for one in found.get_trials(deepcopy=False)
        if SETTINGS in one.user_attrs and KILLED not in one.user_attrs
    ]


def run(found: Any, system: System, space: Space, seed: int) -> None:
    """One more trial: what follows from those before it."""
    import optuna

    number = len(finished(found))
    found.sampler = optuna.samplers.TPESampler(seed=derive(seed, "search", number) % 2**32)
    trial = found.ask()
    settings = {key: one.suggest(trial, key) for key, one in space.items()}
    name = f"{found.study_name}-{number}"
    shown = ", ".join(f"{key}={value}" for key, value in settings.items())
    try:
        value = _scored(name, settings, system)
    except PipelineError as error:
        _note(trial, settings, name, reason=str(error))
        found.tell(trial, state=optuna.trial.TrialState.FAIL)
        say(f"{name}: {shown}: failed: {error}")
        return
    _note(trial, settings, name)
    found.tell(trial, value)
    say(f"{name}: {shown}: {value:.4f} on dev")


def _note(trial: Any, settings: dict[str, str], name: str, reason: str = "") -> None:
    trial.set_user_attr(SETTINGS, settings)
    trial.set_user_attr(EXPERIMENT, name)
    trial.set_user_attr(REASON, reason)


def _scored(name: str, settings: dict[str, str], system: System) -> float:
    """Train the classifier in an experiment of its own, and score it on dev."""
    now = Experiment("workspace")
    if system not in now.systems:
        known = ", ".join("/".join(one) for one in now.systems)
        raise PipelineError(f"params.yaml: {'/'.join(system)} is not active, use one of: {known}")
    experiment(name, settings, [stage(system, fold) for fold in now.systems[system]])
    return of_experiment(Experiment(name), system)


def of_experiment(one: Experiment, system: System) -> float:
    """Its score on dev.

    Raises:
        PipelineError: It has no predictions, or none on dev.
    """
    with ending.folder() as folder:
        paths = one.copied(system, folder)
        return dev.score(paths, one.target(system), one.names(system))


def stage(system: System, fold: int) -> str:
    """The stage of ``dvc.yaml`` that trains a classifier of a fold."""
    task, start, method = system
    if method == "crnn":
        return f"crnn@{task}-{start}-{fold}"
    if method in get_args(Network):
        return f"networks@{task}-{start}-{method}-{fold}"
    if start == "pretrained":
        return f"finetune@{task}-{method}-{fold}"
    if start == "retrained":
        return f"finetune-adapted@{task}-{method}-{fold}"
    return f"finetune-cached@{task}-{start}-{method}-{fold}"


def experiment(name: str, settings: dict[str, str], targets: Sequence[str]) -> None:
    """Run an experiment beside the workspace; without targets all of it, with its test scores.

    Raises:
        PipelineError: It failed, for the reason that DVC said.
    """
    changes = [word for key, value in settings.items() for word in ("-S", f"{key}={value}")]
    words = ["exp", "run", "--temp", "--force", "--name", name, *changes, *targets]
    if reason := dvc(words):
        raise PipelineError(f"{name}: {reason}, see `dvc {' '.join(words)}`")
