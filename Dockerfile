# What the pipeline needs, without the project: the checkout is mounted, so that results lie in it (see README.md).
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /setup
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN python -m venv /opt/storyline \
 && /opt/storyline/bin/python -m pip install --disable-pip-version-check --quiet --no-cache-dir --constraint requirements.lock .
ENV PATH=/opt/storyline/bin:$PATH

# `docker run --user` makes it another user: who owns the checkout, but has no home here and no name, which DVC asks for.
RUN useradd --create-home storyline
USER storyline
ENV HOME=/tmp USER=storyline

WORKDIR /storyline
CMD ["python", "-m", "commands.repro"]
