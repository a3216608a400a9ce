"""The services: ~/reset, ~/save, ~/save_map, ~/load_map, ~/timings and ~/enable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import time
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from recon3d_ros.parameters import NodeConfig
from recon3d_ros.worker import Worker
from std_srvs.srv import SetBool, Trigger

_FLUSH_S = 2.0
"""Longest time that ~/save works off what waits; with a camera that goes on, more always comes."""


class Services:
    """The node's services; none holds up the executor, and files hold up no frame.

    Paths are parameters and never part of a request: who may call a service may not thereby
    choose where this process reads or writes.
    """

    def __init__(
        self,
        node: Any,
        worker: Callable[[], Worker | None],
        settings: Callable[[], NodeConfig],
        on_enable: Callable[[bool], None],
    ) -> None:
        """Create the services.

        Args:
            node: The rclpy node.
            worker: Returns the worker, or None while the node is not active.
            settings: Returns the options in force.
            on_enable: Told when the node is switched on or off.
        """
        self._node = node
        self._worker = worker
        self._settings = settings
        self._on_enable = on_enable
        # One thread: two requests that write the same files do it one after the other.
        self._files = ThreadPoolExecutor(1, thread_name_prefix='recon3d files')
        group = ReentrantCallbackGroup()
        table = {
            '~/reset': self._reset,
            '~/save': self._save,
            '~/save_map': self._save_map,
            '~/load_map': self._load_map,
            '~/timings': self._timings,
        }
        self._closed = False
        self._unanswered: Counter[str] = Counter()
        self._services = {
            name: node.create_service(
                Trigger, name, self._answer(name, action), callback_group=group
            )
            for name, action in table.items()
        }
        self._services['~/enable'] = node.create_service(
            SetBool, '~/enable', self._enable, callback_group=group
        )

    def close(self) -> None:
        """Remove the services, those that owe an answer after it; files are finished."""
        self._closed = True
        self._destroy()
        self._files.shutdown(wait=False, cancel_futures=True)

    def _destroy(self) -> None:
        """Remove the services that owe no answer: rclpy cannot give it after that."""
        for name in [name for name in self._services if not self._unanswered[name]]:
            self._node.destroy_service(self._services.pop(name))

    def _answer(self, name: str, action: Callable[[Worker], Awaitable[Any]]) -> Callable[..., Any]:
        """Return the callback that answers with what an action gives, or why it failed."""

        async def callback(request: Any, response: Any) -> Any:
            self._unanswered[name] += 1
            try:
                return await answer(request, response)
            finally:
                self._unanswered[name] -= 1
                if self._closed and self._node.executor is not None:
                    self._node.executor.create_task(self._destroy)  # when this has been sent

        async def answer(request: Any, response: Any) -> Any:  # noqa: ARG001
            worker = None if self._closed else self._worker()
            if worker is None:
                response.success, response.message = False, 'the node is not active'
                return response
            try:
                result = await action(worker)
            except Exception as error:  # noqa: BLE001 - a failed request must not end the node
                response.success = False
                response.message = f'{type(error).__name__}: {error}'
                self._node.get_logger().error(f'service failed: {response.message}')
            else:
                response.success, response.message = True, str(result or 'done')
            return response

        return callback

    async def _done(self, pending: ThreadFuture[Any]) -> Any:
        """Return what another thread gave; the executor goes on meanwhile."""
        executor = self._node.executor
        future: Future[Any] = Future(executor=executor)

        def finish(_: ThreadFuture[Any]) -> None:
            if pending.cancelled():
                future.set_exception(RuntimeError('the node was deactivated'))
            elif pending.exception() is not None:
                future.set_exception(pending.exception())
            else:
                future.set_result(pending.result())
            if executor is not None:
                executor.wake()

        pending.add_done_callback(finish)
        return await future

    async def _reset(self, worker: Worker) -> None:
        await self._done(worker.reset('~/reset was called'))

    async def _save(self, worker: Worker) -> Path:
        directory = Path(self._settings().save_directory).expanduser()
        begin_s = time.monotonic()
        # In slices, with a frame between two of them.
        while await self._done(worker.finish_some()) and time.monotonic() - begin_s < _FLUSH_S:
            pass
        output = await self._done(worker.output())
        await self._done(self._files.submit(output.write, directory))
        return directory

    async def _save_map(self, worker: Worker) -> str:
        path = self._map_file()
        await self._done(self._files.submit(worker.on.pipeline.save_map, path))
        return f'{path}, in the frame {self._settings().world_frame}'

    async def _load_map(self, worker: Worker) -> Path:
        path = self._map_file()
        await self._done(self._files.submit(worker.on.pipeline.load_map, path))
        await self._done(worker.show())
        return path

    def _map_file(self) -> Path:
        return Path(self._settings().map_file).expanduser()

    async def _timings(self, worker: Worker) -> str:
        return worker.on.statistics.stages.table()

    async def _enable(self, request: Any, response: Any) -> Any:
        worker = self._worker()
        if worker is None:
            response.success, response.message = False, 'the node is not active'
            return response
        worker.enabled = bool(request.data)
        self._on_enable(worker.enabled)
        response.success = True
        response.message = 'enabled' if request.data else 'disabled'
        worker.wake()
        return response
