"""List the code of each other stage: its own file and all files of ours that it imports, each with its hash.

DVC runs a stage again when a dependency of it has changed. If each stage named every file of its code, DVC would spend
most of its time on these files, because it reads and writes all of dvc.lock after each stage. So this stage alone
depends on all code, and the others on one list each. After an edit, DVC runs this stage, and then those whose list has
changed.
"""

from lm.system.files import replacing_folder, write_json
from stages.import_closure import closure
from stages.snapshot import CODE, ROOT
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Write STAGE.json for each stage: the SHA-256 of each file, by its path from the root."""
    with replacing_folder(stage.path("lists")) as folder:
        for name in listed_stages():
            write_json(folder / f"{name}.json", code_of(name))


def listed_stages() -> list[str]:
    """The stages but this one: the modules of this folder that can be run."""
    modules = (path for path in CODE if path.parent.name == "stages" and path.stem != "code")
    return [path.stem for path in modules if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")]


def code_of(stage: str) -> dict[str, str]:
    """The SHA-256 of each file that the stage runs, by its path from the root, sorted. Empty files are left out."""
    paths = sorted(path for path in closure(ROOT / "stages" / f"{stage}.py") if path in CODE and path.stat().st_size)
    return {path.relative_to(ROOT).as_posix(): CODE[path] for path in paths}


if __name__ == "__main__":
    run(main, __doc__, inputs={}, outs={"lists": "a folder with a JSON for each other stage: what its code is"})
