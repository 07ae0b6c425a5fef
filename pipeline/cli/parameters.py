"""``ser parameters``: how many parameters each method trains, before anything is computed."""

from typing import Annotated, Any

import typer

# Published shapes (Hsu et al., 2021, Table 1), for encoders that are not there yet.
SHAPES: dict[str, dict[str, Any]] = {
    "hubert-base": {"model_type": "hubert"},
    "hubert-large": {
        "model_type": "hubert",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
}
NOTE = """\
Table 1 of the paper gives 17,958,528 parameters a block and 437,865,352 in total. Its parts add up
to 437,748,968, and neither is HuBERT large: the table above is counted on the model itself."""


def main(
    encoder: Annotated[str, typer.Argument(help="An encoder; else `pretrained`.")] = "",
    task: Annotated[str, typer.Option(help="Whose outputs; else `multitask.task`.")] = "",
) -> None:
    """Print the parameters of each method, block by block, as a table; nothing is loaded."""
    from pipeline.ground.params import load
    from pipeline.methods import summary

    name = encoder or load("pretrained", str)
    config = _config(name)
    for design, freeze_conv in _designs(name, config, task or load("multitask.task", str)):
        rows = summary.rows(*_modules(config, design, freeze_conv))
        typer.echo(_text(f"{name}, {design.method}, one second of audio", rows))
    if name == "hubert-large":
        typer.echo(NOTE)


def _config(name: str) -> dict[str, Any]:
    from pipeline.encoders import layout
    from pipeline.ground import files

    path = layout.ENCODERS / name / layout.CONFIG
    if not path.is_file() and name in SHAPES:
        return SHAPES[name]
    layout.require_trainable(path.parent)
    config: dict[str, Any] = files.read_json(path)
    return config


def _designs(name: str, config: dict[str, Any], task: str) -> Any:
    """Each method's design in a task, and whether the front end is frozen in it."""
    from pipeline.encoders import encoder as encoders
    from pipeline.ground.params import load
    from pipeline.methods.emotion_head import Design
    from pipeline.methods.finetuning import FinetuneParams, loss_of
    from pipeline.splits import targets

    params, shape = load("finetune", FinetuneParams), encoders.skeleton(config).config
    methods, wanted = params.methods, targets.of(task)
    told = targets.kind(wanted.target)
    values = len(wanted.names) if told == "dimensions" else 0
    about = {
        "full": (params.model, params.loss, None),
        "lora-qkv": (params.model, params.loss, methods.lora_qkv),
        "frozen": (methods.frozen.model, methods.frozen.loss, None),
        "lora-classifier": (
            methods.lora_classifier.model,
            methods.lora_classifier.loss,
            methods.lora_classifier.lora,
        ),
    }
    for method, (model, loss, adapters) in about.items():
        design = Design.model_validate(
            {
                "method": method,
                "target": told,
                "classes": wanted.names,
                "means": [0.0] * values,
                "deviations": [1.0] * values,
                "encoder": name,
                "encoder_sha256": "",
                "width": shape.hidden_size,
                "blocks": shape.num_hidden_layers,
                "model": model,
                "loss": loss_of(wanted, loss),
                "lora": adapters,
            }
        )
        yield design, params.training.freeze_conv


def _modules(config: dict[str, Any], design: Any, freeze_conv: bool) -> tuple[Any, Any]:
    """Encoder and head without memory for their weights."""
    import torch

    from pipeline.encoders import encoder as encoders
    from pipeline.methods.classifier import Classifier

    body = encoders.skeleton(config)
    if freeze_conv:
        body.feature_extractor._freeze_parameters()
    with torch.device("meta"):
        model = Classifier(body, design)
    return model.encoder, model.head


def _text(title: str, rows: Any) -> str:
    lines = [f"{title}\n{'block':26}{'input':18}{'output':18}{'trainable':>13}{'total':>13}"]
    for row in rows:
        about = f"{row.block:26}{row.input:18}{row.output:18}"
        lines.append(f"{about}{row.trainable:13,}{row.total:13,}")
    return "\n".join(lines) + "\n"
