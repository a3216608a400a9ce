"""The services ~/reset, ~/save and ~/enable."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from recon3d_ros.worker import Worker
from std_srvs.srv import SetBool, Trigger


class Services:
    """The node's services; those that need the worker do not hold up the executor meanwhile."""

    def __init__(
        self,
        node: Any,
        worker: Callable[[], Worker | None],
        save_directory: Callable[[], Path],
        on_enable: Callable[[bool], None],
    ) -> None:
        """Create the services.

        Args:
            node: The rclpy node.
            worker: Returns the worker, or None while the node is not active.
            save_directory: Returns the folder to write to.
            on_enable: Told when the node is switched on or off.
        """
        self._node = node
        self._worker = worker
        self._save_directory = save_directory
        self._on_enable = on_enable
        group = ReentrantCallbackGroup()
        table = (
            (Trigger, '~/reset', self._reset),
            (Trigger, '~/save', self._save),
            (SetBool, '~/enable', self._enable),
        )
        self._services = [
            node.create_service(kind, name, callback, callback_group=group)
            for kind, name, callback in table
        ]

    def close(self) -> None:
        """Remove the services."""
        for service in self._services:
            self._node.destroy_service(service)
        self._services = []

    async def _done(self, pending: ThreadFuture[Any]) -> Any:
        """Return what a command of the worker gave; the executor goes on meanwhile."""
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

    async def _run(self, response: Any, command: Callable[[Worker], ThreadFuture[Any]]) -> Any:
        worker = self._worker()
        if worker is None:
            response.success, response.message = False, 'the node is not active'
            return response
        try:
            result = await self._done(command(worker))
        except Exception as error:  # noqa: BLE001 - a failed request must not end the node
            response.success = False
            response.message = f'{type(error).__name__}: {error}'
            self._node.get_logger().error(f'service failed: {response.message}')
        else:
            response.success, response.message = True, str(result or 'done')
        return response

    async def _reset(self, request: Any, response: Any) -> Any:  # noqa: ARG002
        return await self._run(response, lambda worker: worker.reset('~/reset was called'))

    async def _save(self, request: Any, response: Any) -> Any:  # noqa: ARG002
        # The path is a parameter and never part of a request: who may call a service may not
        # thereby choose where this process writes.
        directory = self._save_directory()

        return await self._run(response, lambda worker: worker.save(directory))

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
