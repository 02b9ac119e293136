"""uvicorn as `relay web` runs it (app/serve.py): uvloop, httptools, no access log; on PORT of 127.0.0.1."""

import os

import uvicorn
from fastapi import FastAPI


def serve(app: FastAPI) -> None:
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), log_config=None, access_log=False, server_header=False
    )
