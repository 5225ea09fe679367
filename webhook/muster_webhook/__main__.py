"""muster-webhook: puts the parts together and runs until it is asked to stop."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from muster_kube import process
from muster_kube.clock import SystemClock
from muster_kube.probes import Probes
from muster_kube.process import settle_garbage
from muster_kube.serve import HttpServer
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.writer import Writer
from muster_webhook.application import make_application
from muster_webhook.certificate_keeper import CertificateKeeper
from muster_webhook.certificate_store import CertificateStore
from muster_webhook.handlers import Handlers
from muster_webhook.metrics import REGISTRY
from muster_webhook.settings import SERVICE, WebhookSettings
from muster_webhook.tls import ServingIdentity

_WRONG_USAGE = 2


def main() -> int:
    """The console script."""
    _parser().parse_args()
    try:
        settings = WebhookSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"][:1])
            sys.stderr.write(f"MUSTER_{name.upper()}: {problem['msg']}\n")
        return _WRONG_USAGE

    async def run(supervisor: Supervisor) -> None:
        await serve(supervisor, settings)

    return process.run(SERVICE, run, log_level=settings.log_level)


async def serve(supervisor: Supervisor, settings: WebhookSettings) -> None:
    """The composition root: certificate first, then the server, then its renewal beside it."""
    serving = ServingIdentity()
    async with await ApiSession.connect(user_agent=SERVICE) as session:
        store = CertificateStore(Writer(session, field_manager=SERVICE))
        keeper = CertificateKeeper(
            store, serving, settings.rotation_policy(), SystemClock(), settings.certificate_poll_seconds
        )
        if not await supervisor.until(keeper.obtain()):
            return
        handlers = make_application(Handlers(settings.gpu_resources).by_path())
        application = Probes(keeper.unready, REGISTRY, handlers)
        server = HttpServer(application, settings.listen_host, settings.listen_port, tls=serving.context)
        supervisor.start("https", server.run())
        if not await supervisor.until(server.started.wait()):
            return
        settle_garbage()
        supervisor.start("certificates", keeper.run(settings.listen_host, server.port))
        await supervisor.wait()


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=SERVICE,
        description="Admission for Muster: gates GPU pods of managed namespaces, defaults and validates jobs.",
        epilog=_variables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _variables() -> str:
    lines = ["environment:", "  KUBECONFIG  the API server and who we are; in a pod, its service account"]
    for name, field in WebhookSettings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        lines.append(f"  MUSTER_{name.upper()}  {field.description} [{default}]")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
