"""``ser``, also as ``python -m ser_pipeline``."""

from pipeline.cli.main import app

if __name__ == "__main__":
    app()
