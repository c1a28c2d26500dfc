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

# `docker run --user` gives another user, who owns the checkout and has no home.
RUN useradd --create-home storyline
USER storyline
ENV HOME=/tmp

WORKDIR /storyline
CMD ["python", "-m", "commands.repro"]
