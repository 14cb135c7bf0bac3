.PHONY: test lint format run clean
test:
	launch/test
lint:
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/pyright && shellcheck -x launch/local launch/test launch/tpu_vm launch/slurm launch/slurm_job launch/gke launch/worker tests/versions.sh .ci/run
format:
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .
run:
	launch/local
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
