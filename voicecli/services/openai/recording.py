"""Reports the LLM's HTTP traffic while it is recorded: a transport around the library's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
from typing_extensions import override

from voicecli.services.recording import RequestTape, ServiceRecorder, keep_headers


class RecordedTransport(httpx2.AsyncBaseTransport):
    """Sends requests over ``transport`` and reports them, and their answers.

    base_path: of the service's URL; paths are reported below it.
    """

    def __init__(
        self, transport: httpx2.AsyncBaseTransport, recorder: ServiceRecorder, base_path: str
    ) -> None:
        self._transport = transport
        self._recorder = recorder
        self._base_path = base_path

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode().removeprefix(self._base_path)
        tape = self._recorder.record_request(request.method, path, await request.aread())
        try:
            response = await self._transport.handle_async_request(request)
        except httpx2.HTTPError:
            tape.lost()
            raise
        except BaseException:
            tape.left()
            raise
        tape.answered(response.status_code, keep_headers(response.headers))
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _RecordedStream(response.stream, tape)
        return response

    @override
    async def aclose(self) -> None:
        await self._transport.aclose()


class _RecordedStream(httpx2.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, stream: httpx2.AsyncByteStream, tape: RequestTape) -> None:
        self._stream = stream
        self._tape = tape

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._stream:
                self._tape.received(data)
                yield data
        except httpx2.HTTPError:
            self._tape.lost()
            raise
        self._tape.ended()

    @override
    async def aclose(self) -> None:
        self._tape.left()
        await self._stream.aclose()
