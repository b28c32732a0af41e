# The two commands of a newcomer are `make serve` and `make test`.
PYTHON ?= python3
SERVE := .venv
DEVELOP := .venv-develop
CLIENTS := .venv-clients
RAY := .venv-ray
DATA_DIR ?= data
PEERS := build/peers
ENGINES := peers peers-optimum-onnx peers-vllm
SERVERS := peers-litserve peers-ray peers-mlserver peers-pytriton peers-vllm peers-serving
# Of the images; docs/deploy.md says what they mean.
CONTAINERS ?= docker
BASE_IMAGE ?= python:3.11-slim
IMAGE ?= attendant
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BUILD_OPTS ?=
# Modules whose annotated shapes are checked at every call while their tests run once more.
SHAPED := models.attention,models.layers,models.architectures,service.audio,service.log_mel
# What a test may need beyond a clone, and what is left for `make test`.
HERE := not data and not whisper and not ray
ALONE := $(shell grep -lw mark.alone tests/test_*.py)
SHAPED_TESTS := $(wildcard tests/test_models_architectures*.py) tests/test_models_attention.py \
  tests/test_service_audio.py tests/test_service_log_mel.py

.PHONY: serve models image image-gpu base-image test-image clients test test-data check format evaluate tune load bench-batch bench-engines bench-growth bench-lengths bench-halting bench-overhead bench-serving bench-surfaces bench-first bench-hour bench-import soak chaos fuzz serving-page proto lock develop readme calls bench-peers slo load-report budgets ray test-ray bench-ray attention systems bench-systems comparison bench-workers dashboard

$(SERVE)/.installed: requirements/serve.txt
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/pip install --quiet --disable-pip-version-check -r requirements/serve.txt
	touch $@

$(DEVELOP)/.installed: requirements/develop.txt requirements/openvino.txt
	$(PYTHON) -m venv $(DEVELOP)
	$(DEVELOP)/bin/pip install --quiet --disable-pip-version-check \
	  -r requirements/develop.txt -r requirements/openvino.txt
	touch $@

$(CLIENTS)/.installed: requirements/clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check -r requirements/clients.txt
	touch $@

$(RAY)/.installed: requirements/ray.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/pip install --quiet --disable-pip-version-check -r requirements/ray.txt
	touch $@

serve: $(SERVE)/.installed  ## install what serving needs, then serve on HTTP_PORT and GRPC_PORT
	$(SERVE)/bin/python -m service serve

models: $(SERVE)/.installed  ## put the shipped models in the store
	$(SERVE)/bin/python -m service install

image: models  ## the image IMAGE:cpu, by CONTAINERS on BASE_IMAGE (EXTRA=openvino for OpenVINO)

image-gpu: EXTRA := gpu
image-gpu: models  ## the image IMAGE:gpu, with onnxruntime-gpu and CUDA's libraries

image image-gpu:
	BENTOML_DO_NOT_TRACK=True $(SERVE)/bin/bentoml build
	# In /, since BentoML refuses a template outside of the folder it is called in, also its own
	# copy (bentoml#5566); as docker's format, since the other one has no health check.
	cd / && BENTOML_DO_NOT_TRACK=True BUILDAH_FORMAT=docker \
	  $(abspath $(SERVE))/bin/bentoml containerize attendant:latest --backend $(CONTAINERS) \
	  --image-tag $(IMAGE):$(or $(EXTRA),cpu) --opt build-arg=BASE_IMAGE=$(BASE_IMAGE) \
	  --opt build-arg=EXTRA=$(EXTRA) --opt build-arg=VERSION=$(VERSION) \
	  --opt build-arg=REVISION=$(shell git rev-parse --short HEAD) $(BUILD_OPTS)

base-image:  ## BASE_IMAGE from Debian's packages, as root, where registries are out of reach
	deploy/image/base.sh $(BASE_IMAGE)

test-image: image $(DEVELOP)/.installed  ## build the image, run it with podman, and hold it to its promises
	$(DEVELOP)/bin/python -m pytest -s tests/test_image.py --image=$(IMAGE):$(or $(EXTRA),cpu)

clients: $(CLIENTS)/.installed  ## the clients of other servers' APIs, for the tests that use them

test: $(DEVELOP)/.installed $(CLIENTS)/.installed  ## all tests that need neither data nor downloaded weights
	$(DEVELOP)/bin/python -m pytest -m "$(HERE) and not alone" -n 2 --dist worksteal \
	  --clients=$(CLIENTS)/bin/python
	$(DEVELOP)/bin/python -m pytest -m "$(HERE) and alone" $(ALONE)
	$(DEVELOP)/bin/python -m pytest -m "$(HERE) and not clients" -k "not learn" -n 2 \
	  --jaxtyping-packages=$(SHAPED),shapes.checked $(SHAPED_TESTS)

ray: $(RAY)/.installed  ## the environment of a node of a Ray cluster

test-ray: $(DEVELOP)/.installed $(RAY)/.installed  ## Ray Serve on hosts that the tests make; as root
	$(DEVELOP)/bin/python -m pytest -m ray --ray=$(RAY)/bin/python

test-data: $(DEVELOP)/.installed  ## the tests on real data (DATA_DIR) and on Whisper's weights
	$(DEVELOP)/bin/python -m pytest -m "data or whisper" --data-dir=$(DATA_DIR)

check: $(DEVELOP)/.installed  ## lint and types
	$(DEVELOP)/bin/ruff format --check .
	$(DEVELOP)/bin/ruff check .
	$(DEVELOP)/bin/mypy

format: $(DEVELOP)/.installed
	$(DEVELOP)/bin/ruff format .
	$(DEVELOP)/bin/ruff check --fix .

evaluate: $(DEVELOP)/.installed  ## measure the shipped models on DATA_DIR and rewrite README's table
	$(DEVELOP)/bin/python -m models evaluate --all --data-dir $(DATA_DIR) --readme README.md

tune: $(DEVELOP)/.installed  ## find the fastest way to run each model here (NAME for one of them)
	for name in $(or $(NAME),translation image-classification object-detection audio-classification \
	  automatic-speech-recognition); do \
	  $(DEVELOP)/bin/python -m export tune $$name --data-dir $(DATA_DIR) || exit 1; done

load: $(DEVELOP)/.installed  ## two minutes of every task on both doors, streamed too (ARGS for options)
	$(DEVELOP)/bin/python -m loadtests run --rate 6 --duration 120 --percentile 0.9 \
	  --door REST --door gRPC --door REST-stream \
	  --out build/load.json --report build/load $(ARGS)

slo: $(DEVELOP)/.installed  ## the highest rate at which each task, and the mix, keeps its bound
	$(DEVELOP)/bin/python -m loadtests search --door REST --minutes 14 --out build/slo.json --report build/slo $(ARGS)

budgets: $(DEVELOP)/.installed  ## the budgets from what make load and make slo wrote last, with a margin
	$(DEVELOP)/bin/python -m loadtests budgets build/load.json build/slo.json $(ARGS)

load-report: $(DEVELOP)/.installed  ## docs/load, with a picture by Chromium, from what make load and make slo wrote last
	$(DEVELOP)/bin/python -m loadtests report build/slo.json build/load.json --out docs/load \
	  --screenshot docs/load-report.png $(ARGS)

$(PEERS)/%/.installed: requirements/%.txt
	@echo "installing the engines of $<, which takes minutes"
	$(PYTHON) -m venv $(PEERS)/$*
	$(PEERS)/$*/bin/pip install --quiet --disable-pip-version-check -r $<
	# They come along for another torch than this one, and break its import.
	$(PEERS)/$*/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

bench-engines: $(DEVELOP)/.installed  ## race every engine people use and rewrite docs/benchmarks.md
	# What cannot be installed here is skipped, with its reason.
	-$(MAKE) --keep-going $(ENGINES:%=$(PEERS)/%/.installed)
	$(DEVELOP)/bin/python -m loadtests.peers --environments $(PEERS) --data-dir $(DATA_DIR)

bench-growth: $(DEVELOP)/.installed  ## time of translation against batch, source and target
	$(DEVELOP)/bin/python -m loadtests.peers.growth

bench-lengths: $(DEVELOP)/.installed  ## a decoding step of softmax and of linear attention as texts grow
	$(DEVELOP)/bin/python -m loadtests.peers.lengths

bench-halting: $(DEVELOP)/.installed  ## a Universal Transformer's time by the step at which it halts
	$(DEVELOP)/bin/python -m loadtests.peers.halting

bench-overhead: $(DEVELOP)/.installed  ## what the doors cost, beside other servers, with no model
	# What cannot be installed here is skipped, with its reason.
	-$(MAKE) $(PEERS)/peers-doors/.installed
	$(DEVELOP)/bin/python -m loadtests.serving.overhead $(ARGS)

bench-serving: $(DEVELOP)/.installed  ## Attendant beside other servers under load (ARGS for options)
	# What cannot be installed here is skipped, with its reason.
	-$(MAKE) --keep-going $(PEERS)/peers-serving/.installed $(PEERS)/peers-vllm/.installed
	$(DEVELOP)/bin/python -m loadtests.serving.bench --data-dir $(DATA_DIR) $(ARGS)

bench-peers: $(DEVELOP)/.installed  ## Attendant beside other servers with the same models (ARGS=--short)
	# What cannot be installed here is skipped, with its reason.
	-$(MAKE) --keep-going $(SERVERS:%=$(PEERS)/%/.installed)
	$(DEVELOP)/bin/python -m loadtests.serving.compare --data-dir $(DATA_DIR) $(ARGS)

bench-surfaces: $(DEVELOP)/.installed  ## what other servers' APIs cost beside our own doors
	$(DEVELOP)/bin/python -m loadtests.serving.surfaces $(ARGS)

bench-batch: $(DEVELOP)/.installed  ## offline batch beside the engine that it feeds
	$(DEVELOP)/bin/python -m loadtests.batch $(ARGS)

bench-ray: $(DEVELOP)/.installed $(RAY)/.installed  ## Ray Serve beside the service alone
	$(DEVELOP)/bin/python -m loadtests.serving.on_ray --ray $(RAY)/bin/python $(ARGS)

bench-workers: $(DEVELOP)/.installed  ## 1 and 2 workers beside the simulation of them, and more, simulated
	$(DEVELOP)/bin/python -m loadtests.scale.validate $(ARGS)

bench-first: $(DEVELOP)/.installed  ## how soon the first text of a stream comes
	$(DEVELOP)/bin/python -m loadtests.serving.first $(ARGS)

bench-hour: $(DEVELOP)/.installed  ## an hour of speech in one request: its words, the memory it takes
	$(DEVELOP)/bin/python -m loadtests.serving.hour --data-dir $(DATA_DIR) $(ARGS)

bench-import: $(DEVELOP)/.installed  ## a checkpoint of OPUS-MT's shape until it is served, and the memory
	$(DEVELOP)/bin/python -m loadtests.serving.imported $(ARGS)

soak: $(DEVELOP)/.installed  ## everything at once for ten minutes: nothing may grow or be wrong
	$(DEVELOP)/bin/python -m loadtests.serving.soak $(ARGS)

chaos: $(DEVELOP)/.installed  ## faults done to servers under load: typed errors, quick recovery
	$(DEVELOP)/bin/python -m loadtests.serving.chaos $(ARGS)

fuzz: $(DEVELOP)/.installed  ## generated requests on every door: no 5xx, no crash
	$(DEVELOP)/bin/python -m loadtests.serving.fuzz $(ARGS)

dashboard: $(DEVELOP)/.installed  ## the dashboard's queries drawn by Prometheus in Chromium: build/dashboard
	$(DEVELOP)/bin/python -m loadtests.dashboard $(ARGS)

serving-page: $(DEVELOP)/.installed  ## write docs/serving.md from what was recorded
	$(DEVELOP)/bin/python -m loadtests.serving.page

develop: $(DEVELOP)/.installed  ## the environment of training, export and checks

readme: $(DEVELOP)/.installed  ## rewrite the maps of the tree and the table of limits
	$(DEVELOP)/bin/python docs/tree.py
	PYTHONPATH=. $(DEVELOP)/bin/python docs/limits.py

calls: $(DEVELOP)/.installed  ## ask the running service and rewrite the calls in README.md
	PYTHONPATH=. $(DEVELOP)/bin/python docs/calls.py

attention: $(DEVELOP)/.installed  ## ask the running service where it attends and redraw docs/attention
	PYTHONPATH=. $(DEVELOP)/bin/python docs/attention.py

systems: $(DEVELOP)/.installed  ## size, training and quality of the models in the store (NAME for one of them)
	for name in $(or $(NAME),translation image-classification audio-classification \
	  automatic-speech-recognition); do \
	  $(DEVELOP)/bin/python -m models record $$name --data-dir $(DATA_DIR) || exit 1; done

bench-systems: $(DEVELOP)/.installed  ## latency and throughput of each through the service (ARGS for options)
	$(DEVELOP)/bin/python -m loadtests.system $(NAME) $(ARGS)

comparison: $(DEVELOP)/.installed  ## write docs/comparison.md from what was recorded
	$(DEVELOP)/bin/python -m models compare

proto: $(DEVELOP)/.installed  ## write service/pb and the tasks' parts of deploy/kubernetes
	$(DEVELOP)/bin/python -m service.pb
	PYTHONPATH=. $(DEVELOP)/bin/python deploy/kubernetes/tasks.py

lock:  ## resolve requirements/*.in into the pinned *.txt
	for name in serve develop clients image ray; do \
	  rm -rf build/lock && $(PYTHON) -m venv build/lock && \
	  build/lock/bin/pip install --quiet -r requirements/$$name.in && \
	  { echo "# Written by make lock from $$name.in."; build/lock/bin/pip freeze | sed 's/+cpu$$//'; } \
	    > requirements/$$name.txt; done
