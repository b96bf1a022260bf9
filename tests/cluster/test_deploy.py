"""Readers of the files in cluster/deploy know all that these say; and ``cluster.leave`` works."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer
import yaml

from cluster import leave
from cluster.cli.app import app
from cluster.pools.ray_metrics import COUNTERS, GAUGES, HISTOGRAMS, TAG
from jobs.jobfile.parse import parse_job
from jobs.spec.sharing import LEVELS
from tests.support.farm import ROOT, wait_for
from tests.support.head import open_to_all

DEPLOY = ROOT / "cluster" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
GUIDE = (DEPLOY / "README.md").read_text("utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")

METRICS: dict[str, tuple[str, set[str]]] = {
    **{name: ("counter", {TAG, *tags}) for name, (_, tags) in COUNTERS.items()},
    **{name: ("gauge", {TAG, *tags}) for name, (_, tags) in GAUGES.items()},
    **{name: ("histogram", {TAG}) for name in HISTOGRAMS},
}
"""Every metric with its kind and tags."""

EXPORTED_ENDINGS = {
    "counter": {"_total"},
    "gauge": {""},
    "histogram": {"_bucket", "_sum", "_count"},
}
"""What Ray's exporter appends to a metric's name."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


def document(name: str, kind: str) -> dict[str, Any]:
    (document,) = [each for each in documents(name) if each["kind"] == kind]
    return document


def cluster_specs() -> dict[str, dict[str, Any]]:
    return {
        "raycluster.yaml": document("raycluster.yaml", "RayCluster")["spec"],
        "rayjob.yaml": document("rayjob.yaml", "RayJob")["spec"]["rayClusterSpec"],
    }


def ray_up() -> dict[str, Any]:
    (config,) = documents("ray-up.yaml")
    return config


# --- names of fields ------------------------------------------------------------------------------

ANY = object()
"""A scalar, or what is not looked into."""

STRINGS = object()
"""A map in which Kubernetes wants strings, and takes neither 1 nor true."""


def fields(names: str, **known: Any) -> dict[str, Any]:
    return {**dict.fromkeys(names.split(), ANY), **known}


HANDLER = fields("httpGet tcpSocket sleep", exec=fields("command"))
PROBE = {
    **HANDLER,
    **fields(
        "grpc initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold"
        " terminationGracePeriodSeconds"
    ),
}
RESOURCES = fields("claims", requests=ANY, limits=ANY)
ENV_FROM = [
    fields("prefix", secretRef=fields("name optional"), configMapRef=fields("name optional"))
]
CONTAINER = fields(
    "name image imagePullPolicy command args workingDir stdin stdinOnce tty restartPolicy"
    " resizePolicy terminationMessagePath terminationMessagePolicy volumeDevices",
    env=[fields("name value valueFrom")],
    envFrom=ENV_FROM,
    lifecycle=fields("stopSignal", preStop=HANDLER, postStart=HANDLER),
    livenessProbe=PROBE,
    readinessProbe=PROBE,
    startupProbe=PROBE,
    ports=[fields("name containerPort hostIP hostPort protocol")],
    resources=RESOURCES,
    securityContext=fields(
        "allowPrivilegeEscalation appArmorProfile privileged procMount readOnlyRootFilesystem"
        " runAsGroup runAsNonRoot runAsUser seLinuxOptions seccompProfile windowsOptions",
        capabilities=fields("add drop"),
    ),
    volumeMounts=[
        fields("name mountPath mountPropagation readOnly recursiveReadOnly subPath subPathExpr")
    ],
)
POD_SPEC = fields(
    "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy"
    " enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers"
    " hostname imagePullSecrets nodeName os overhead preemptionPolicy priority priorityClassName"
    " readinessGates resourceClaims restartPolicy runtimeClassName schedulerName schedulingGates"
    " serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain"
    " terminationGracePeriodSeconds topologySpreadConstraints",
    containers=[CONTAINER],
    initContainers=[CONTAINER],
    nodeSelector=STRINGS,
    tolerations=[fields("key operator value effect tolerationSeconds")],
    securityContext=fields(
        "appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser"
        " seLinuxOptions seccompProfile supplementalGroups supplementalGroupsPolicy sysctls"
    ),
    volumes=[
        fields(
            "name hostPath persistentVolumeClaim csi projected nfs ephemeral downwardAPI image",
            emptyDir=fields("medium sizeLimit"),
            configMap=fields("name items defaultMode optional"),
            secret=fields("secretName items defaultMode optional"),
        )
    ],
)
METADATA = fields("name namespace generateName finalizers", labels=STRINGS, annotations=STRINGS)
TEMPLATE = {"metadata": METADATA, "spec": POD_SPEC}
RAY_CLUSTER = fields(
    "suspend managedBy headServiceAnnotations gcsFaultToleranceOptions historyServerOptions"
    " networkPolicy rayVersion enableInTreeAutoscaling",
    upgradeStrategy=fields("type"),
    tlsOptions=fields("enabled"),
    authOptions=fields("mode secretName enableK8sTokenAuth"),
    autoscalerOptions=fields(
        "image imagePullPolicy idleTimeoutSeconds upscalingMode version volumeMounts command args",
        resources=RESOURCES,
        securityContext=CONTAINER["securityContext"],
        env=CONTAINER["env"],
        envFrom=ENV_FROM,
    ),
    headGroupSpec=fields(
        "headService enableIngress ingressOptions serviceType",
        rayStartParams=STRINGS,
        resources=STRINGS,
        labels=STRINGS,
        template=TEMPLATE,
    ),
    workerGroupSpecs=[
        fields(
            "suspend groupName replicas minReplicas maxReplicas idleTimeoutSeconds priority"
            " scaleStrategy numOfHosts",
            rayStartParams=STRINGS,
            resources=STRINGS,
            labels=STRINGS,
            template=TEMPLATE,
        )
    ],
)
RAY_JOB = fields(
    "activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint"
    " entrypointNumCpus entrypointNumGpus entrypointResources jobId managedBy metadata"
    " preRunningDeadlineSeconds runtimeEnvYAML shutdownAfterJobFinishes submissionMode suspend"
    " ttlSecondsAfterFinished",
    submitterConfig=fields("backoffLimit"),
    submitterPodTemplate=TEMPLATE,
    rayClusterSpec=RAY_CLUSTER,
)
POD_MONITOR = fields(
    "attachMetadata bodySizeLimit jobLabel labelLimit namespaceSelector podTargetLabels"
    " sampleLimit scrapeClass targetLimit",
    selector=fields("matchExpressions", matchLabels=STRINGS),
    podMetricsEndpoints=[
        fields(
            "port portNumber path scheme interval scrapeTimeout honorLabels honorTimestamps params"
            " metricRelabelings followRedirects enableHttp2 filterRunning tlsConfig",
            relabelings=[
                fields("sourceLabels separator targetLabel regex modulus replacement action")
            ],
        )
    ],
)
CLUSTER_QUEUE = fields(
    "admissionChecksStrategy admissionScope cohortName fairSharing flavorFungibility queueingStrategy"
    " stopPolicy",
    namespaceSelector=fields("matchExpressions matchLabels"),
    preemption=fields("borrowWithinCohort reclaimWithinCohort withinClusterQueue"),
    resourceGroups=[
        fields(
            "coveredResources",
            flavors=[
                fields("name", resources=[fields("name nominalQuota borrowingLimit lendingLimit")])
            ],
        )
    ],
)
OBJECTS = {
    ("kueue.x-k8s.io/v1beta2", "ClusterQueue"): {"spec": CLUSTER_QUEUE},
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"): {
        "spec": fields("clusterQueue fairSharing stopPolicy")
    },
    ("kueue.x-k8s.io/v1beta2", "ResourceFlavor"): {"spec": ANY},
    ("kueue.x-k8s.io/v1beta2", "WorkloadPriorityClass"): fields("value description"),
    ("ray.io/v1", "RayCluster"): {"spec": RAY_CLUSTER},
    ("ray.io/v1", "RayJob"): {"spec": RAY_JOB},
    ("v1", "ConfigMap"): fields("binaryData immutable", data=STRINGS),
    ("monitoring.coreos.com/v1", "PodMonitor"): {"spec": POD_MONITOR},
}


def strangers(value: Any, shape: Any, at: str = "") -> list[str]:
    """Where a value has a field that its shape does not know, or is of another form."""
    if shape is ANY:
        return []
    if shape is STRINGS:
        return [f"{at}.{k}: {v!r}" for k, v in value.items() if not isinstance(v, str)]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at}: not a list"]
        return [s for k, v in enumerate(value) for s in strangers(v, shape[0], f"{at}[{k}]")]
    if not isinstance(value, dict):
        return [f"{at}: not a map"]
    unknown = [f"{at}.{key}" for key in value if key not in shape]
    return unknown + [
        s for k, v in value.items() if k in shape for s in strangers(v, shape[k], f"{at}.{k}")
    ]


@pytest.mark.parametrize(
    "name", ["raycluster.yaml", "rayjob.yaml", "podmonitor.yaml", "kueue.yaml"]
)
def test_kubernetes_knows_every_field(name):
    for each in documents(name):
        shape = OBJECTS[each["apiVersion"], each["kind"]]
        whole = {**shape, **fields("apiVersion kind", metadata=METADATA)}
        assert strangers(each, whole, each["kind"]) == []


def test_a_field_that_is_misspelt_is_found():
    spec = document("raycluster.yaml", "RayCluster")["spec"]
    pod = spec["workerGroupSpecs"][0]["template"]["spec"]
    pod["containers"][0]["lifecycle"]["prestop"] = {}
    pod["nodeSelector"]["a"] = True
    assert strangers(spec, RAY_CLUSTER) == [
        ".workerGroupSpecs[0].template.spec.nodeSelector.a: True",
        ".workerGroupSpecs[0].template.spec.containers[0].lifecycle.prestop",
    ]


# --- what the cluster files say -------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(cluster_specs()))
class TestRayCluster:
    @pytest.fixture
    def spec(self, name):
        return cluster_specs()[name]

    def test_only_workers_have_gpus(self, spec):
        head = spec["headGroupSpec"]
        assert head["rayStartParams"]["num-cpus"] == "0"
        (container,) = head["template"]["spec"]["containers"]
        assert "nvidia.com/gpu" not in container["resources"]["limits"]
        for group in spec["workerGroupSpecs"]:
            (container,) = group["template"]["spec"]["containers"]
            resources = container["resources"]
            assert resources["limits"]["nvidia.com/gpu"] >= 1
            # Kubernetes takes no request for a device that is not its limit.
            assert resources["requests"] == resources["limits"]

    def test_one_group_is_on_demand_and_one_spot(self, spec):
        spot, demand = spec["workerGroupSpecs"]
        assert (spot["groupName"], demand["groupName"]) == ("gpu-spot", "gpu-on-demand")
        assert spot["priority"] > demand["priority"]
        pods = [group["template"]["spec"] for group in (spot, demand)]
        assert pods[0]["nodeSelector"] != pods[1]["nodeSelector"]
        keys = [{t["key"] for t in pod["tolerations"]} for pod in pods]
        assert "nvidia.com/gpu" in keys[0] & keys[1]
        assert keys[0] > keys[1]

    def test_it_grows_from_nothing_and_asks_for_a_token(self, spec):
        assert spec["enableInTreeAutoscaling"] is True
        assert spec["autoscalerOptions"]["idleTimeoutSeconds"] > 0
        assert spec["authOptions"] == {"mode": "token"}
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] == 0 < group["maxReplicas"]

    def test_workers_have_time_to_leave(self, spec):
        for group in spec["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            assert command[:3] == ["python", "-m", "cluster.leave"]
            seconds = float(command[command.index("--seconds") + 1])
            assert 10 <= seconds < pod["terminationGracePeriodSeconds"]

    def test_every_pod_reaches_s3_and_offers_metrics_and_has_shared_memory(self, spec):
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            pod = group["template"]["spec"]
            (container,) = pod["containers"]
            assert container["envFrom"] == [{"secretRef": {"name": "stylefarm-s3"}}]
            assert {"name": "metrics", "containerPort": 8080} in container["ports"]
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            assert set(mounts.values()) == set(volumes)
            memory = volumes[mounts["/dev/shm"]]["emptyDir"]
            assert memory["medium"] == "Memory"
            megabytes = int(re.fullmatch(r"(\d+)Mi", memory["sizeLimit"])[1])
            store = int(group["rayStartParams"]["object-store-memory"])
            assert store < megabytes * 2**20
            assert pod["securityContext"]["runAsUser"] == 1000

    def test_rays_autoscaler_understands_it(self, spec):
        kuberay = pytest.importorskip("ray.autoscaler._private.kuberay.autoscaling_config")
        config = kuberay._derive_autoscaling_config_from_ray_cr(
            {"metadata": {"name": "stylefarm", "namespace": "default"}, "spec": spec}
        )
        types = config["available_node_types"]
        assert types["headgroup"]["resources"]["CPU"] == 0
        assert types["headgroup"]["max_workers"] == 0
        for name in ("gpu-spot", "gpu-on-demand"):
            assert types[name]["resources"]["GPU"] == 1
            assert types[name]["min_workers"] == 0 < types[name]["max_workers"]


def test_the_job_brings_up_the_same_cluster():
    stays, goes = cluster_specs().values()
    pod = goes["headGroupSpec"]["template"]["spec"]
    assert pod["containers"][0]["volumeMounts"].pop() == {
        "name": "job", "mountPath": "/jobs", "readOnly": True,
    }  # fmt: skip
    assert pod["volumes"].pop() == {"name": "job", "configMap": {"name": "stylefarm-job"}}
    assert goes == stays


def test_the_job_runs_its_job_file_and_goes_away():
    spec = document("rayjob.yaml", "RayJob")["spec"]
    assert spec["entrypoint"] == "stylefarm run /jobs/job.yaml --address auto --json --brief"
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["backoffLimit"] > 0
    assert spec["submissionMode"] in {"K8sJobMode", "SidecarMode", "HTTPMode"}
    files = document("rayjob.yaml", "ConfigMap")
    assert files["metadata"]["name"] == "stylefarm-job"
    check_job(files["data"]["job.yaml"])


def for_kueue() -> dict[str, Any]:
    """The RayJob as it is with Kueue: without the # that its comments speak of."""
    text = (DEPLOY / "rayjob.yaml").read_text()
    asked = re.sub(r"^( *)# ((labels|annotations|suspend):|  kueue)", r"\1\2", text, flags=re.M)
    (job,) = (each for each in yaml.safe_load_all(asked) if each["kind"] == "RayJob")
    return job


def test_with_kueue_the_job_waits_in_a_queue_that_exists():
    job = for_kueue()
    assert strangers(job, {**fields("apiVersion kind", metadata=METADATA), "spec": RAY_JOB}) == []
    labels = job["metadata"]["labels"]
    assert (
        labels["kueue.x-k8s.io/queue-name"]
        == document("kueue.yaml", "LocalQueue")["metadata"]["name"]
    )
    classes = {
        each["metadata"]["name"]: each["value"]
        for each in documents("kueue.yaml")
        if each["kind"] == "WorkloadPriorityClass"
    }
    assert classes == {f"stylefarm-{name}": points for name, points in LEVELS.items()}
    assert labels["kueue.x-k8s.io/priority-class"] in classes
    # What Kueue 0.19 asks of a RayJob: that it can be suspended, goes away, and says that it is autoscaled.
    assert job["spec"]["suspend"] is True
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert job["metadata"]["annotations"] == {"kueue.x-k8s.io/elastic-job": "true"}
    assert all(
        group["groupName"] != "head" for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    )
    # Every resource that its pods ask for is covered by the quota.
    (group,) = document("kueue.yaml", "ClusterQueue")["spec"]["resourceGroups"]
    specs = [
        job["spec"]["rayClusterSpec"]["headGroupSpec"],
        *job["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ]
    for spec in specs:
        (container,) = spec["template"]["spec"]["containers"]
        assert set(container["resources"]["requests"]) <= set(group["coveredResources"])


def test_the_job_files_in_the_guide_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert blocks
    for block in blocks:
        check_job(block)


def check_job(text: str) -> None:
    """It is a job that pods without a common folder can render, and for which nodes come."""
    parse_job(text.encode(), "job.yaml", ROOT)
    job = yaml.safe_load(text)
    assert job["output"].startswith("s3://")
    assert all(pair[kind].startswith("s3://") for pair in job["pairs"] for kind in pair)
    assert isinstance(job["workers"]["max"], int)


def test_the_launcher_accepts_ray_up():
    util = pytest.importorskip("ray.autoscaler._private.util")
    pytest.importorskip("jsonschema")
    config = util.prepare_config(ray_up())
    util.validate_config(config)
    commands = [c for key, value in config.items() if key.endswith("_commands") for c in value]
    assert not [c for c in commands if "pip install" in c], "the image has all"


def test_ray_up_has_a_head_without_gpus_and_two_kinds_of_workers():
    config = ray_up()
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert head["max_workers"] == 0
    spot, demand = types["gpu-spot"], types["gpu-on-demand"]
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot["node_config"] == demand["node_config"]
    assert spot["priority"] > demand["priority"]
    for each in (spot, demand):
        assert each["min_workers"] == 0 < each["max_workers"]
        assert each["resources"]["GPU"] == 1
    assert config["max_workers"] == spot["max_workers"] + demand["max_workers"]
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "/home/ray/.ray" in config["file_mounts"]


def test_prometheus_keeps_the_label_job():
    (config,) = documents("prometheus.yaml")
    assert all(each["honor_labels"] is True for each in config["scrape_configs"])
    monitor = document("podmonitor.yaml", "PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    assert endpoint["port"] == "metrics"


# --- the image ------------------------------------------------------------------------------------

ARGS = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))


def test_every_file_names_the_same_image():
    named = {
        image
        for path in DEPLOY.iterdir()
        for image in re.findall(r"[\w./-]+/stylefarm:[\w.-]+", path.read_text("utf-8"))
    }
    (image,) = named
    label = re.search(r'org\.opencontainers\.image\.version="([^"]+)"', DOCKERFILE)[1]
    assert image.endswith(f":{label}")
    assert f'\nversion = "{label}"\n' in PYPROJECT
    for spec in cluster_specs().values():
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            assert group["template"]["spec"]["containers"][0]["image"] == image
    assert ray_up()["docker"]["image"] == image


def test_every_file_means_the_same_ray():
    pinned = ARGS["RAY_VERSION"]
    assert {spec["rayVersion"] for spec in cluster_specs().values()} == {pinned}
    assert set(re.findall(r"ray\[default\]==([\d.]+)", GUIDE)) == {pinned}
    installed = importlib.metadata.version("ray")
    assert pinned.split(".")[:2] == installed.split(".")[:2]


def test_the_base_image_is_pinned_and_has_the_cuda_of_torch():
    assert re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE) == ["${BASE}"]
    base = re.fullmatch(
        r"nvidia/cuda:(\d+\.\d+)\.\d+-(base|runtime)-ubuntu\d\d\.\d\d", ARGS["BASE"]
    )
    assert base, ARGS["BASE"]
    assert ":latest" not in DOCKERFILE
    if importlib.metadata.version("torch").split("+")[0] != ARGS["TORCH_VERSION"]:
        pytest.skip("another torch is installed here than in the image")
    needs = " ".join(importlib.metadata.requires("torch") or [])
    toolkit = re.search(r"cuda-toolkit\S*==(\d+\.\d+)", needs)
    if toolkit is None:
        pytest.skip("the torch installed here is built without CUDA")
    assert toolkit[1] == base[1]


def test_what_is_copied_into_the_image_exists_and_suffices():
    copied = [
        name
        for names in re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    ]
    for name in copied:
        assert (ROOT / name).exists(), name
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split("\n")
    assert {line[1:] for line in sent if line.startswith("!")} == set(copied)
    for line in ("readme", "license-files", "include"):
        named = re.search(rf"^{line} = (.*)$", PYPROJECT, re.MULTILINE)[1]
        assert {name.rstrip("*") for name in re.findall(r'"([^"]+)"', named)} <= set(copied)


def test_torch_is_installed_before_the_code_comes():
    order = [DOCKERFILE.index(text) for text in ('"torch==', "COPY --chown=ray:ray pyproject.toml")]
    order += [DOCKERFILE.index(f"COPY --chown=ray:ray {room}") for room in ("stylize", "cluster")]
    assert order == sorted(order)
    user, *_ = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user == "ray"
    for tool in ("bash", "wget", "rsync", "tini"):
        assert re.search(rf"^ .*\b{tool}\b.*\\$|^ +.*\b{tool}\b", DOCKERFILE, re.MULTILINE)


# --- command lines --------------------------------------------------------------------------------

SEPARATORS = {"&&", "||", "|", ";", "&", "(", ")", ">", "<", "do", "done", "then", "exec", "--"}
"""After these a command may begin. What is behind > and < is no command of ours, so harmless."""


def command_texts() -> Iterator[str]:
    """Every line of shell in the guide, the YAML files, their comments, and the Dockerfile."""
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    for path in (*DEPLOY.glob("*.yaml"), DEPLOY / "Dockerfile"):
        yield from re.findall(r"^# {3}(\S.*)$", path.read_text("utf-8"), re.MULTILINE)
    yield from re.findall(r"^(?:RUN| && ) ?(.*?) ?\\?$", DOCKERFILE, re.MULTILINE)
    yield from (c for key, value in ray_up().items() if key.endswith("_commands") for c in value)
    yield document("rayjob.yaml", "RayJob")["spec"]["entrypoint"]
    for spec in cluster_specs().values():
        for group in spec["workerGroupSpecs"]:
            hook = group["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]
            yield shlex.join(hook["exec"]["command"])
    yield from re.findall(r"`((?:ray|stylefarm|python -m cluster\.leave) [^`]+)`", GUIDE)


def commands(text: str) -> Iterator[list[str]]:
    """Our commands and Ray's in a line of shell, also those that are given to others."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        words = list(lexer)
    except ValueError:
        return  # half of a quotation, in a line that the Dockerfile goes on with
    begins = True
    for at, word in enumerate(words):
        module = words[at : at + 3] == ["python", "-m", "cluster.leave"]
        if begins and (word in ("ray", "stylefarm") or module):
            rest = words[at:]
            ends = [k for k, w in enumerate(rest) if w in SEPARATORS - {"--", "do", "then", "exec"}]
            yield rest[: ends[0]] if ends else rest
        if " " in word:
            yield from commands(word)
        begins = word in SEPARATORS or re.fullmatch(r"\w+=.*", word) is not None


ALL_COMMANDS = sorted({tuple(c) for text in command_texts() for c in commands(text)})


def test_commands_are_found_wherever_they_stand():
    first_words = {" ".join(command[:2]) for command in ALL_COMMANDS}
    assert first_words >= {
        "ray start", "ray stop", "ray up", "ray dashboard", "ray get-auth-token",
        "ray status", "stylefarm run", "stylefarm plan", "stylefarm doctor", "stylefarm report",
        "stylefarm submit", "stylefarm logs", "stylefarm list",
        "python -m",
    }  # fmt: skip
    assert list(
        commands("kubectl exec x -- ray job submit --no-wait -- stylefarm run j --json")
    ) == [
        ["ray", "job", "submit", "--no-wait", "--", "stylefarm", "run", "j", "--json"],
        ["stylefarm", "run", "j", "--json"],
    ]


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=" ".join)
def test_every_command_has_the_options_it_is_given(command):
    check_command(list(command))


def test_an_option_that_is_not_there_is_found():
    for wrong in ("ray start --heads", "ray joob", "stylefarm run --jsn x", "ray get-auth-token x"):
        with pytest.raises(Exception, match=r"(?i)no such|unexpected"):
            check_command(wrong.split())


def check_command(command: list[str]) -> None:
    """Parse it as click would, without running it. Raises what click raises."""
    if command[0] == "python":
        parsed = subprocess.run(
            [sys.executable, *command[1:], "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert parsed.returncode == 0, parsed.stderr
        unknown = {word for word in command[3:] if word.startswith("--")}
        assert all(word in parsed.stdout for word in unknown)
        return
    if command[0] == "ray":
        root: Any = pytest.importorskip("ray.scripts.scripts").cli
    else:
        root = typer.main.get_command(app)
    node, words = root, command[1:]
    while hasattr(node, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in node.commands, f"no such command: {name}"
        node = node.commands[name]
    context = node.context_class(node)
    given, extra, _ = node.make_parser(context).parse_args(words)
    assert not extra, f"unexpected: {extra}"
    for parameter in node.params:
        kind = getattr(parameter, "type", None)
        if given.get(parameter.name) is not None and kind and not hasattr(kind, "exists"):
            parameter.type_cast_value(context, given[parameter.name])


def test_the_guide_names_only_files_that_are_there():
    for link in re.findall(r"\]\(((?!http|#)[^)]+)\)", GUIDE):
        assert (DEPLOY / link).exists(), link
    for path in re.findall(r"cluster/deploy/[\w.-]*\w", GUIDE):
        assert (ROOT / path).exists(), path
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= headings


# --- the dashboard --------------------------------------------------------------------------------

DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_shows_every_metric_and_no_other():
    exported = {
        f"ray_{name}{ending}": name
        for name, (kind, _) in METRICS.items()
        for ending in EXPORTED_ENDINGS[kind]
    }
    used = {name for text in EXPRESSIONS for name in re.findall(r"\bray_\w+", text)}
    assert used <= set(exported)
    assert {exported[name] for name in used} == set(METRICS)
    for variable in DASHBOARD["templating"]["list"][1:]:
        assert set(re.findall(r"\bray_\w+", json.dumps(variable))) <= set(exported)


def test_the_dashboard_asks_only_for_tags_that_are_there():
    tags = {name: known for name, (_, known) in METRICS.items()}
    for text in EXPRESSIONS:
        metrics = re.findall(r"ray_(\w+?)(?:_total|_bucket)?\{([^}]*)\}", text)
        assert metrics, text
        for name, selector in metrics:
            assert set(re.findall(r"(\w+)=", selector)) <= tags[name]
            assert 'job=~"$job"' in selector
            for group in re.findall(r"by \(([^)]*)\)", text):
                assert {tag.strip() for tag in group.split(",")} <= tags[name] | {"le"}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = {t for g in re.findall(r"by \(([^)]*)\)", target["expr"]) for t in g.split(", ")}
            assert legend <= kept


def test_the_dashboard_is_laid_out_and_bound_to_its_variables():
    assert DASHBOARD["schemaVersion"] >= 38
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "job"}
    source = {"type": "prometheus", "uid": "${datasource}"}
    cells: set[tuple[int, int]] = set()
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert all(each["datasource"] == source for each in (panel, *panel["targets"]))
        assert panel["description"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        cells |= taken


# --- leaving --------------------------------------------------------------------------------------


def run_leave(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Always with --node-id: without it, whatever else this user runs here would be sent home."""
    assert "--node-id" in arguments
    # Ray's own command may take long to start beside other work.
    code = "from cluster import leave; leave.DRAIN_SECONDS = 60.0; leave.main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


class RayWorker:
    """Has the name of stylefarm's workers, and leaves a file when it gets SIGTERM."""

    def __init__(self, farewell: str) -> None:
        def go(*_: object) -> None:
            Path(farewell).touch()
            os._exit(0)

        signal.signal(signal.SIGTERM, go)

    def ping(self) -> int:
        return os.getpid()


class Bystander:
    def ping(self) -> int:
        return os.getpid()


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A Ray of two nodes on this machine; the second is the one that leaves."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    node = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    with open_to_all():
        cluster = Cluster(initialize_head=True, head_node_args={**node, "resources": {"stays": 9}})
        try:
            leaving = cluster.add_node(
                num_cpus=2, object_store_memory=80 * 2**20, resources={"leaves": 9}
            )
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield leaving
        finally:
            ray.shutdown()
            cluster.shutdown()


def test_a_node_that_leaves_is_drained_and_its_workers_go(two_nodes, tmp_path):
    ray = pytest.importorskip("ray")

    def start(kind: type, where: str, *arguments: Any) -> Any:
        return ray.remote(kind).options(num_cpus=1, resources={where: 1}).remote(*arguments)

    goes = start(RayWorker, "leaves", str(tmp_path / "goes"))
    stays = start(RayWorker, "stays", str(tmp_path / "stays"))
    other = start(Bystander, "leaves")  # without it Ray would end the drained node at once
    ray.get([actor.ping.remote() for actor in (goes, stays, other)], timeout=180)

    begun = time.monotonic()
    done = run_leave("--seconds", "180", "--node-id", two_nodes.node_id)
    assert time.monotonic() - begun < 180
    assert done.returncode == 0
    assert f"node {two_nodes.node_id} accepts no new work" in done.stderr
    assert "signalled: 1, still running: 0" in done.stderr

    assert (tmp_path / "goes").exists()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(goes.ping.remote(), timeout=90)
    assert not (tmp_path / "stays").exists()
    assert ray.get([stays.ping.remote(), other.ping.remote()], timeout=90)
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    assert two_nodes.node_id in alive
    late = start(Bystander, "leaves").ping.remote()
    assert ray.wait([late], timeout=2)[0] == []


@pytest.fixture
def pretended_raylet(tmp_path) -> Iterator[psutil.Process]:
    """A process with two children named like workers, of which one does not mind SIGTERM."""
    # Not the shell, whose children would bear the same name.
    stubborn = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    python = f"{sys.executable} -c {shlex.quote(stubborn)} {tmp_path}/ready"
    script = (
        "(exec -a ray::RayWorker.run sleep 60) & (exec -a ray::IDLE sleep 60) & "
        f"(exec -a ray::RayWorker {python}) & wait"
    )
    process = subprocess.Popen(["bash", "-c", script], start_new_session=True)
    try:
        shell = psutil.Process(process.pid)

        def are_named() -> bool:
            titles = [(child.cmdline() or [""])[0] for child in shell.children()]
            return sum(title.startswith("ray::") for title in titles) == 3

        wait_for(lambda: (tmp_path / "ready").exists() and are_named(), 10)
        yield shell
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_one_that_does_not_go_is_waited_for_no_longer_than_there_is_time(pretended_raylet):
    node = leave.LocalNode("0", "127.0.0.1:1", pretended_raylet)
    begun = time.monotonic()
    assert leave.end_workers([node], begun + 4) == (2, 1)
    assert 4 <= time.monotonic() - begun < 20
    titles = sorted(child.cmdline()[0] for child in pretended_raylet.children())
    assert titles == ["ray::IDLE", "ray::RayWorker"]


def test_a_head_that_does_not_answer_is_told_of_and_not_waited_for(capfd, monkeypatch):
    # Or Ray would wait for it for half a minute only.
    monkeypatch.setenv("RAY_gcs_rpc_server_connect_timeout_s", "600")
    node = leave.LocalNode("ab" * 28, "127.0.0.1:1", psutil.Process())
    begun = time.monotonic()
    leave.drain(node, 30, 1.5)
    assert time.monotonic() - begun < 60
    assert "Ray did not drain node abab" in capfd.readouterr().err


def test_a_node_that_is_not_here_harms_nobody():
    done = run_leave("--node-id", "0" * 56, "--seconds", "5")
    assert done.returncode == 0
    assert f"you have no node {'0' * 56} on this machine" in done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "inf", "nan"])
def test_seconds_are_a_number_above_zero(seconds, capsys):
    with pytest.raises(SystemExit):
        leave.main([f"--seconds={seconds}", "--node-id", "0"])
    assert "is not a number of seconds above 0" in capsys.readouterr().err
