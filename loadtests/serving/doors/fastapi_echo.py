"""a port → FastAPI with pydantic in and out, under uvicorn as it comes."""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Echo(BaseModel):
    text: str


@app.post("/echo")
async def echo(request: Echo) -> Echo:
    return Echo(text=request.text)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
