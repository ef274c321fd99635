"""The manifests are valid, agree with the settings, and with each other."""

import copy
import re
import shutil
import subprocess
from functools import cache, partial
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from config import ROOT, Settings
from core.files import MEGABYTE
from core.images import OUTPUT_FORMATS
from core.model.card import read_card
from core.model.grid import output_grid
from core.model.passes import plan_result
from core.model.tiles import plan_tiles
from core.options import OutputOptions
from core.picture import Header
from core.runtime.memory_plan import MemoryPlan
from jobs.cluster.storage import CACHED_SOURCES
from service.build import USABLE_SHARE

NAME = "max-image-resolution-enhancer"
MANIFEST = ROOT / f"{NAME}.yaml"
KUSTOMIZE = ROOT / "deploy" / "kustomize"
OVERLAYS = ("base", "production", "autoscaling", "models")

ALL_OVERLAYS = sorted(
    path.parent.name
    for path in KUSTOMIZE.glob("*/kustomization.yaml")
    if yaml.safe_load(path.read_text())["kind"] == "Kustomization"
)

STORAGE = {"ENHANCER_STORAGE_URL": "s3://bucket/folder"}
"""Settings that servers and workers take from a Secret."""

OTHER_FILES_BYTES = 512 * 1024**2
"""Of everything that a pod writes beside uploads and jobs: its log first of all."""

KUBERNETES = "1.30"
"""The oldest version that the manifests are held to, beside the newest there is a schema of."""

CUSTOM = {"ScaledObject", "PodMonitor"}
"""Kinds that operators bring, of which Kubernetes has no schema."""

RESIDENT_BYTES = 500_000_000
"""Of the processes before any picture, at most; see docs/operations.md."""

GIBIBYTE = 1024**3


def documents(text):
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@cache
def rendered_documents(overlay):
    """What `kubectl apply -k` would send, as a list."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: see kubernetes.io/docs/tasks/tools")
    command = ["kubectl", "kustomize", str(KUSTOMIZE / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def rendered(overlay):
    """What `kubectl apply -k` would send, by kind."""
    return {document["kind"]: document for document in rendered_documents(overlay)}


def our_deployments(found):
    """Deployments of our image: servers and workers."""
    return [
        document
        for document in found
        if document["kind"] == "Deployment"
        and container_of(document)["image"].partition(":")[0] == NAME
    ]


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


def container_of(deployment):
    (container,) = pod_of(deployment)["containers"]
    return container


def settings_of(container):
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    return Settings.from_env(given | (STORAGE if "envFrom" in container else {}))


def quantity(text):
    """Bytes of a quantity such as 3Gi."""
    powers = {"Ki": 1, "Mi": 2, "Gi": 3}
    return int(text[:-2]) * 1024 ** powers[text[-2:]]


def most_pods(found, deployment):
    """Largest number of pods at the same time, while they are replaced, too."""
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    targets = [
        document["spec"]
        for document in found
        if document.get("spec", {}).get("scaleTargetRef", {}).get("name") == name
    ]
    replicas = [spec.get("replicas", 1)]
    replicas += [target.get("maxReplicas", target.get("maxReplicaCount")) for target in targets]
    return max(replicas) + (spec.get("strategy", {}).get("type") != "Recreate")


def lonely_jobs(found):
    """Servers of which there may be several, each with jobs that only it knows."""
    return [
        deployment["metadata"]["name"]
        for deployment in our_deployments(found)
        if most_pods(found, deployment) > 1
        and not settings_of(container_of(deployment)).no_jobs
        and not settings_of(container_of(deployment)).queue_url
    ]


def disk_bytes(container):
    """Disk space that a server or worker needs in its folder of temporary files."""
    settings = settings_of(container)
    jobs_bytes = settings.jobs_disk_mb * MEGABYTE
    if "worker" in container.get("command", ()):  # the segments and the result of one job
        return CACHED_SOURCES * settings.max_job_bytes + 2 * jobs_bytes
    if settings.no_jobs:
        return settings.request_threads * settings.max_upload_bytes
    uploads_bytes = 2 * settings.request_threads * settings.max_job_bytes  # received, and copied
    return uploads_bytes + (0 if settings.queue_url else jobs_bytes)


@pytest.fixture(scope="module")
def manifest():
    return documents(MANIFEST.read_text())


@pytest.fixture(scope="module")
def pod(manifest):
    return manifest["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def environ(pod):
    return {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}


def check(found):
    """Hold documents to the schemas of Kubernetes, unknown fields included."""
    for version in (KUBERNETES, kubernetes_validate.latest_version()):
        for kind, document in found.items():
            if kind not in CUSTOM:
                kubernetes_validate.validate(document, version, strict=True)


def test_the_manifest_is_what_kubernetes_expects(manifest):
    assert manifest.keys() == {
        "Service",
        "Deployment",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    }
    check(manifest)


def test_a_field_that_kubernetes_does_not_know_is_noticed(manifest):
    deployment = yaml.safe_load(yaml.safe_dump(manifest["Deployment"]))
    deployment["spec"]["template"]["spec"]["readOnlyRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        check({"Deployment": deployment})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_to_what_kubernetes_expects(overlay):
    found = rendered(overlay)
    check(found)
    assert found["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


def test_the_base_of_the_overlays_is_the_manifest():
    assert (KUSTOMIZE / "base" / MANIFEST.name).read_bytes() == MANIFEST.read_bytes()


def test_everything_is_selected_by_one_label(manifest):
    label = {"app": NAME}
    specs = {kind: document["spec"] for kind, document in manifest.items()}
    assert specs["Service"]["selector"] == label
    assert specs["Deployment"]["selector"]["matchLabels"] == label
    assert specs["Deployment"]["template"]["metadata"]["labels"] == label
    assert specs["PodDisruptionBudget"]["selector"]["matchLabels"] == label
    assert specs["HorizontalPodAutoscaler"]["scaleTargetRef"]["name"] == NAME


def test_the_environment_is_made_of_settings_that_there_are(environ):
    Settings.from_env(environ)


def test_a_pod_has_the_time_to_finish_what_it_accepted(pod, environ):
    settings = Settings.from_env(environ)
    before_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    needed_s = before_s + settings.drain_s + settings.graceful_timeout_s
    assert pod["terminationGracePeriodSeconds"] >= needed_s + 10


def test_readiness_is_lost_before_a_draining_pod_stops(pod, environ):
    probe = pod["containers"][0]["readinessProbe"]
    noticed_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert noticed_s <= Settings.from_env(environ).drain_s


def test_a_pod_is_allowed_nothing_that_it_does_not_need(pod):
    container = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_what_is_allowed_is_promised_too(pod):
    resources = pod["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("file_format", OUTPUT_FORMATS)
def test_the_largest_picture_fits_into_the_limit(pod, file_format, bits):
    settings = Settings()
    memory = pod["containers"][0]["resources"]["limits"]["memory"]
    budget = int(memory.removesuffix("Gi")) * GIBIBYTE * USABLE_SHARE - RESIDENT_BYTES
    side, sr_side = (int(pixels**0.5) for pixels in (settings.max_pixels, settings.output_pixels))
    halo = read_card(settings.card).halo
    grid = output_grid(OutputOptions(width=sr_side), side, side, scale=4)
    plan = plan_result(grid, partial(plan_tiles, window=settings.window, halo=halo), None)
    header = Header(side, side, 4, bits if file_format == "png" else 8)
    assert MemoryPlan(header, plan, file_format).memory_bytes < budget


@pytest.mark.parametrize("overlay", ALL_OVERLAYS)
def test_jobs_are_shared_or_off_where_there_are_several_replicas(overlay):
    assert our_deployments(rendered_documents(overlay))
    assert lonely_jobs(rendered_documents(overlay)) == []


def test_jobs_that_only_one_replica_knows_are_noticed():
    found = copy.deepcopy(rendered_documents("base"))
    (server,) = our_deployments(found)
    container_of(server)["env"] = []
    assert lonely_jobs(found) == [NAME]
    alone = [document for document in found if document["kind"] != "HorizontalPodAutoscaler"]
    assert lonely_jobs(alone) == [NAME]  # the old and the new one, during an update
    server["spec"]["strategy"] = {"type": "Recreate"}
    assert lonely_jobs(alone) == []


@pytest.mark.parametrize("overlay", ALL_OVERLAYS)
def test_disks_have_the_room_that_settings_allow_to_be_taken(overlay):
    for deployment in our_deployments(rendered_documents(overlay)):
        container = container_of(deployment)
        (size,) = (
            v["emptyDir"]["sizeLimit"] for v in pod_of(deployment)["volumes"] if "emptyDir" in v
        )
        resources = container["resources"]
        assert quantity(size) >= disk_bytes(container) + OTHER_FILES_BYTES
        assert quantity(resources["requests"]["ephemeral-storage"]) >= (
            quantity(size) + OTHER_FILES_BYTES
        )
        assert resources["requests"] == resources["limits"]


@pytest.mark.parametrize("overlay", ALL_OVERLAYS)
def test_pods_name_no_user_which_openshift_would_refuse(overlay):
    for deployment in our_deployments(rendered_documents(overlay)):
        for context in (pod_of(deployment), container_of(deployment)):
            fixed = {"runAsUser", "runAsGroup", "fsGroup"} & context["securityContext"].keys()
            assert fixed == set()


def test_the_base_image_is_pinned_by_its_digest():
    dockerfile = (ROOT / "Dockerfile").read_text()
    (tag,) = re.findall(r"^ARG TAG=(.*)$", dockerfile, re.M)
    assert re.fullmatch(r"3\.11-slim-bookworm@sha256:[0-9a-f]{64}", tag)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.M)) == {"python:${TAG}"}


def test_the_image_has_a_user_of_whom_kubernetes_knows_that_it_is_not_root():
    (user,) = re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user)


@pytest.mark.parametrize(
    ("overlay", "names"), [("models", [NAME]), ("complete-models", ["enhancer-worker", NAME])]
)
def test_servers_and_workers_mount_the_folder_of_models_read_only(overlay, names):
    deployments = our_deployments(rendered_documents(overlay))
    assert sorted(document["metadata"]["name"] for document in deployments) == names
    for document in deployments:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        folder = settings_of(container_of(document)).models_folder
        (mount,) = [
            m for m in container_of(document)["volumeMounts"] if m["mountPath"] == str(folder)
        ]
        (volume,) = [v for v in pod_of(document)["volumes"] if v["name"] == mount["name"]]
        assert mount["readOnly"] is True
        claim = volume["persistentVolumeClaim"]
        assert claim == {"claimName": "enhancer-models", "readOnly": True}


def test_production_asks_for_a_key_that_is_not_in_the_repository():
    found = rendered("production")
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    key = next(entry for entry in container["env"] if entry["name"] == "ENHANCER_API_KEYS")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "enhancer-keys", "key": "api-keys"}
    credentials = found["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["authorization"]
    assert credentials["credentials"]["name"] == "enhancer-keys"
    assert "Secret" not in found


def test_production_has_several_replicas_and_few_who_reach_them():
    found = rendered("production")
    assert found["HorizontalPodAutoscaler"]["spec"]["minReplicas"] >= 3
    assert set(found["NetworkPolicy"]["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert not found["NetworkPolicy"]["spec"].get("egress")
    assert found["Service"]["spec"]["type"] == "ClusterIP"


def test_queues_scale_instead_of_the_processor():
    found = rendered("autoscaling")
    assert "HorizontalPodAutoscaler" not in found
    assert found["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == NAME


def test_what_is_scaled_by_is_what_the_service_exports(client):
    (trigger,) = rendered("autoscaling")["ScaledObject"]["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    names = set(re.findall(r"enhancer_\w+", query))
    deployment = rendered("autoscaling")["Deployment"]
    assert f'namespace="{deployment["metadata"]["namespace"]}"' in query
    exported = client.get("/metrics").text
    assert names
    assert all(f"\n{name} " in exported for name in names)


def test_the_composed_service_has_settings_and_limits_of_the_cluster(pod):
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["enhancer"]
    environ = {
        name: re.sub(r"\$\{.*\}", "", value) for name, value in service["environment"].items()
    }
    settings = Settings.from_env(environ)
    limits = pod["containers"][0]["resources"]["limits"]
    assert service["mem_limit"].removesuffix("g") == limits["memory"].removesuffix("Gi")
    assert str(service["cpus"]) == limits["cpu"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    wanted_s = settings.drain_s + settings.graceful_timeout_s
    assert int(service["stop_grace_period"].removesuffix("s")) > wanted_s


def test_the_composed_service_keeps_jobs_in_a_volume_with_a_name():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service = compose["services"]["enhancer"]
    places = [volume.partition(":")[::2] for volume in service["volumes"] if ":" in volume]
    named = [Path(place) for name, place in places if name in compose["volumes"]]
    for variable in ("ENHANCER_JOBS_FOLDER", "ENHANCER_STORAGE_URL"):
        folder = Path(service["environment"][variable])
        assert any(folder.is_relative_to(place) for place in named)
