"""A Celery worker whose tasks call a provider. Its queue is a folder."""

import os

from celery import Celery

from governor_client import TrafficControlledHttpClient

folder = os.environ["QUEUE"]
app = Celery("tasks", broker="filesystem://", backend=f"file://{folder}")
app.conf.broker_transport_options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder}
client = TrafficControlledHttpClient("demo", os.environ["PROVIDER"], govern_loopback=True)


@app.task  # type: ignore[untyped-decorator] # Celery has no types
def call() -> str:
    return f"{client.get('/items/task').status_code} from {os.getpid()}"
