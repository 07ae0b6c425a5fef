"""code: write code.yaml, by which DVC sees whose code changed (`pipeline.ground.code`)."""

from pipeline.corpora.manifest import require_name
from pipeline.ground import code, files
from pipeline.ground.params import load
from pipeline.ground.stage import run


def main() -> None:
    """Write the digest of each stage's code to code.yaml."""
    for name in load("corpus", dict[object, object]):
        require_name(name)  # before it stands in a key, a path or a command
    names = load("corpus", dict[str, object])
    parsers = {name: load(f"corpus.{name}.parser", str) for name in names}
    files.write_text(code.FILE, code.text(code.digests(parsers)))


if __name__ == "__main__":
    run(main)
