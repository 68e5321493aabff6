# `make demo` and `make test` need only Python 3.11+ and make: the virtual environment is created on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# Byte code is kept, whatever the environment says: otherwise each start compiles aekit, and each worker the tests, anew.
export PYTHONDONTWRITEBYTECODE :=
STUDIES := mnist-vae brain-age faces autoencoders pca outliers shapes

.PHONY: help install demo examples reproduce test test-slow test-real faults check bench clean

help:
	@echo "make demo       every kind of command on bundled digits and synthetic brains: runs/demo/"
	@echo "make examples   small versions of the studies, on bundled data: examples/*/out/small/"
	@echo "make reproduce  quick protocols of all recipes of published results, most on bundled data: runs/reproduce/"
	@echo "make test       run the tests (make test-slow: in real shells; make test-real: on the data under AEKIT_DATA)"
	@echo "make faults     test every command with kills, full disks and damaged files, at length: runs/faults/"
	@echo "make check      lint, formatting and types"
	@echo "make bench      measure accuracy and speed on real data (five hours): benchmarks/RESULTS.md"
	@echo "make clean      remove the virtual environment and caches, but not runs/"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aekit needs Python 3.11 or newer; choose one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/aekit train-vae --data digits --latent 10 --beta 0.25 --epochs 60 --overwrite --output $(DEMO)/vae.safetensors
	$(BIN)/aekit reconstruct $(DEMO)/vae.safetensors --output $(DEMO)/reconstructions.png
	$(BIN)/aekit sample $(DEMO)/vae.safetensors --output $(DEMO)/samples.png
	$(BIN)/aekit evaluate $(DEMO)/vae.safetensors --output $(DEMO)/evaluation.json
	$(BIN)/aekit sweep --data digits --model ae --latent 2,4,8 --epochs 20 --output $(DEMO)/sweep | $(BIN)/aekit pca-compare - --output $(DEMO)/pca.png
	$(BIN)/aekit tsne $(DEMO)/vae.safetensors --output $(DEMO)/tsne.png
	$(BIN)/aekit explore $(DEMO)/vae.safetensors --output $(DEMO)/explore.html
	$(BIN)/aekit mri-phantom -n 80 --size 48 --overwrite --output $(DEMO)/phantom
	$(BIN)/aekit mri-eda $(DEMO)/phantom/participants.tsv --volumes $(DEMO)/phantom/volumes --output $(DEMO)/report
	$(BIN)/aekit mri-train $(DEMO)/phantom/participants.tsv --volumes $(DEMO)/phantom/volumes --size 24 --spacing 8 --epochs 10 --overwrite --output $(DEMO)/brain.safetensors
	$(BIN)/aekit mri-predict $(DEMO)/brain.safetensors $(DEMO)/phantom/volumes --output $(DEMO)/brain.predicted.csv

examples: $(STUDIES:%=examples/%/out/small/report.html)

examples/%/out/small/report.html: install
	$(MAKE) -C examples/$* SMALL=1 AEKIT='$(abspath $(BIN)/aekit)'

reproduce: install
	$(BIN)/aekit reproduce all --quick

test: install
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: install
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'slow and not real_data'

test-real: install
	$(BIN)/python -m pytest -n auto --dist loadfile -m real_data

faults: install
	$(BIN)/python -m pytest -n auto --dist loadfile -m faults tests/faults

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/foundation.py
	$(BIN)/python benchmarks/frontier.py
	$(BIN)/python benchmarks/small_sets.py
	$(BIN)/python benchmarks/cpu.py
	$(BIN)/python benchmarks/latent.py
	$(BIN)/python benchmarks/mri.py
	$(BIN)/python benchmarks/large.py
	$(BIN)/python benchmarks/startup.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
