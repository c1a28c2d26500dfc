"""Send an exported model to a Hugging Face hub, with its page.

  python -m commands.export models/base exports/base
  python -m commands.push exports/base ORGANISATION/NAME

Log in first with `hf auth login`, or set HF_TOKEN. HF_ENDPOINT names another hub than huggingface.co.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.command_line import Parser
from lm.exchange.hub import upload_model
from lm.system.files import replacing

_REPRODUCE = "## Reproduce"


def main(words: Sequence[str] | None = None) -> None:
    """Send the folder that the command line names."""
    about, _, after = (__doc__ or "").partition("\n\n")
    parser = Parser(
        prog="python -m commands.push",
        description=about,
        epilog=after,
    )
    parser.add_argument("folder", type=Path, help="an export for transformers")
    parser.add_argument("repository", help="where to send it, as ORGANISATION/NAME; made if there is none")
    parser.add_argument("--private", action="store_true", help="only its owners may see a repository that is made")
    parser.add_argument("--message", default="Upload from storyline", help="of the commit there; default: %(default)s")
    arguments = parser.parse(words)
    try:
        if not (arguments.folder / "config.json").exists():
            raise ValueError(f"{arguments.folder}: must be an export for transformers, got no config.json there")
        _complete_page(arguments.folder / "README.md", arguments.repository)
        address = upload_model(arguments.folder, arguments.repository, arguments.message, arguments.private)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
    print(f"sent to {address}")


def _complete_page(page: Path, repository: str) -> None:
    """Write the name of the repository into the page, and the commit that reproduces the model.

    The export itself does not know them: it must not depend on what the next commit is called.
    """
    lines = page.read_text(encoding="utf-8").split("\n")
    title = next((line for line in lines if line.startswith("# ")), "# ")
    text = "\n".join(lines).replace(title, f"# {repository.partition('/')[2]}", 1)
    text = text.replace(f'from_pretrained("{title[2:]}")', f'from_pretrained("{repository}")')
    text = text.partition(f"\n{_REPRODUCE}")[0].rstrip("\n") + "\n"
    if commit := _commit():
        text += (
            f"\n{_REPRODUCE}\n\nIn a clone of the repository that made it, at commit `{commit}`:\n\n"
            f"    git checkout {commit} && make repro\n"
        )
    with replacing(page) as file:
        file.write(text.encode())


def _commit() -> str | None:
    """The commit of the project around this folder; None without git, and where parameters or results are not in it."""
    asked = (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "params.yaml", "dvc.lock", "dvc.yaml"])
    answers = [subprocess.run(["git", *words], capture_output=True, text=True, check=False) for words in asked]
    if any(answer.returncode for answer in answers) or answers[1].stdout:
        print("the page names no commit, because parameters or results here are in none", file=sys.stderr)
        return None
    return answers[0].stdout.strip()


if __name__ == "__main__":
    main()
