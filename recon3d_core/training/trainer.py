"""The loop: one process, several devices or several nodes run the same code."""

from __future__ import annotations

import math
from pathlib import Path
import time
from typing import Any

from recon3d_core.errors import InputError, RunError
from recon3d_core.models.base import Network
from recon3d_core.training import checkpoints, export, logs, pictures
from recon3d_core.training.loader import load_batches
from recon3d_core.training.optimizers import set_lr
from recon3d_core.training.plan import Plan
from recon3d_core.training.progress import Advance
from recon3d_core.training.recipe import Recipe
from recon3d_core.training.state import save_batch, seed_network, State
from recon3d_core.training.task import Task, Verdict
from recon3d_core.training.validation import spread

_STEP_COLUMNS = (
    'step', 'stage', 'views', 'loss', 'lr', 'grad_norm', 'images_per_s', 'wait_share', 'seconds',
)  # fmt: skip


class Trainer:
    """Trains one network by a recipe.

    Attributes:
        recipe: The recipe.
        out: Folder of the results.
        plan: What each step does.
        state: What changes.
    """

    def __init__(
        self,
        fabric: Any,
        recipe: Recipe,
        network: Network,
        task: Task,
        out: Path,
        about: dict[str, Any],
    ) -> None:
        """Get ready to train.

        Args:
            fabric: A launched `lightning_fabric.Fabric`.
            recipe: The recipe.
            network: The network with its first weights.
            task: What is trained, with its data set.
            out: Folder of the results.
            about: What goes into the weights card about the training, such as the command.

        Raises:
            InputError: The data set has nothing to train on, or too few views.
        """
        self.fabric, self.recipe, self.task, self.out, self.about = (
            fabric, recipe, task, out, about,
        )  # fmt: skip
        data = task.data
        objects = data.names('train')
        if not objects:
            raise InputError(f'data set {data.name}', 'no object in its split train')
        self.plan = Plan(recipe, objects, fabric.global_rank, fabric.world_size)
        self.card = export.describe_data(recipe, data)
        self.state = State(fabric, network, recipe, task)
        self.first = fabric.is_global_zero
        names = spread(data.names('val'), recipe.validation.objects)
        self.objects = len(names)
        mine = names[fabric.global_rank :: fabric.world_size]
        self.samples = task.load(mine)
        self._loss = self._norm = self._interval_images = self._interval_steps = 0.0
        self._interval = (0.0, 0.0)

    def fit(self, advance: Advance, deadline: float, stopped: Any) -> str:
        """Train until the recipe, the time or the user ends it.

        Args:
            advance: Shows the progress.
            deadline: Value of `time.perf_counter()` at which to stop.
            stopped: Returns whether the user wants to stop.

        Returns:
            `done`, `time` or `interrupted`.

        Raises:
            RunError: The loss is not finite, or a file cannot be written.
        """
        progress = self.state.progress
        self._open_logs()
        batches = load_batches(self.task.data, self.plan, progress.step, self.recipe.data.workers)
        self._saved = time.perf_counter()
        verdict = 'done'
        for step in range(progress.step, self.recipe.steps):
            begin = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - begin
            self._step(step, batch)
            progress.step = step + 1
            progress.images += self.task.count_images(batch) * self.plan.world
            progress.seconds += time.perf_counter() - begin
            progress.wait_seconds += waited
            self._after_step(batch, advance)
            verdict = self._verdict(deadline, stopped)
            if verdict != 'done':
                break
        self._finish(verdict, advance)
        return verdict

    def _step(self, step: int, batch: Any) -> None:
        place, state = self.plan.place(step), self.state
        if state.optimizer is None or place.index != state.progress.stage:
            state.enter(place.index)
        set_lr(state.optimizer, self.plan.lr(step))
        seed_network(self.plan.network_seed(step))
        batch = batch.to(self.fabric.device)
        try:
            loss = state.objective(**self.task.tensors(batch))
        except InputError as error:
            if 'not finite' not in str(error):
                raise
            raise self._not_finite(step, batch, str(error)) from error
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            state.objective, state.optimizer, max_norm=self.recipe.clip or math.inf,
            error_if_nonfinite=False,
        )  # fmt: skip
        self._last = float(loss.detach()), float(norm)
        if not all(map(math.isfinite, self._last)):
            raise self._not_finite(step, batch, 'loss {:.3g}, gradient {:.3g}'.format(*self._last))
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.mean:
            state.mean.update(state.network)

    def _not_finite(self, step: int, batch: Any, got: str) -> RunError:
        """Save the batch; the last checkpoint stays, as this step's weights may be spoilt."""
        path = self.out / f'bad_batch_step{step:06d}_rank{self.plan.rank}.safetensors'
        save_batch(path, self.task.tensors(batch), batch.names)
        return RunError(
            f'the loss of step {step} is not finite',
            got,
            fix=f'Its batch is in {path}. A lower lr or clip may help.',
        )

    def _open_logs(self) -> None:
        if not self.first:
            return
        done = self.state.progress.step
        columns = ['step', 'threshold', 'mean', *self.task.columns]
        self.table = logs.Table(self.out / logs.STEPS, _STEP_COLUMNS, done)
        self.validations = logs.Table(self.out / logs.VALIDATIONS, columns, done)
        self.events = logs.Events(self.out / 'tensorboard', done)

    def _after_step(self, batch: Any, advance: Advance) -> None:
        self._loss += self._last[0]
        self._norm += self._last[1]
        self._interval_steps += 1
        self._interval_images += self.task.count_images(batch) * self.plan.world
        step, recipe = self.state.progress.step, self.recipe
        if step % recipe.log_steps == 0 or step == recipe.steps:
            self._log(advance)
        if step % recipe.validation.every == 0 or step == recipe.steps:
            self._validate(advance)
        minutes = (time.perf_counter() - self._saved) / 60
        if step % recipe.checkpoint_steps == 0 or minutes >= recipe.checkpoint_minutes:
            self._checkpoint()

    def _log(self, advance: Advance) -> None:
        progress, count = self.state.progress, max(1.0, self._interval_steps)
        seconds = max(1e-9, progress.seconds - self._interval[0])
        row = {
            'step': progress.step,
            'stage': progress.stage,
            'views': self.plan.views(progress.step - 1),
            'loss': self._loss / count,
            'lr': self.plan.lr(progress.step - 1),
            'grad_norm': self._norm / count,
            'images_per_s': self._interval_images / seconds,
            'wait_share': (progress.wait_seconds - self._interval[1]) / seconds,
            'seconds': progress.seconds,
        }
        self._loss = self._norm = self._interval_images = self._interval_steps = 0.0
        self._interval = (progress.seconds, progress.wait_seconds)
        if self.first:
            rounded = {key: float(f'{value:.6g}') for key, value in row.items()}
            self.table.add(rounded)
            self.events.add(progress.step, row, 'train')
            advance(
                progress.step,
                f'loss {row["loss"]:.4f}, {row["images_per_s"]:.1f} images/s, '
                f'{100 * row["wait_share"]:.0f} % waiting for data',
            )

    def _validate(self, advance: Advance) -> None:
        if not self.objects:
            return
        state = self.state
        with state.averaged():
            sums = self.task.sums(state.network, self.samples)
            sums = self.fabric.all_reduce(sums.to(self.fabric.device), reduce_op='sum').cpu()
            result = self.task.verdict(sums, self.objects)
            progress = state.progress
            better = result.mean > progress.best
            progress.best = max(result.mean, progress.best)
            progress.threshold, progress.metrics = result.threshold, result.summary()
            if self.first:
                self._export(['best', 'last'] if better else ['last'])
                self._report(result, advance)
                if self.recipe.pictures:
                    chosen = spread(range(len(self.samples)), self.recipe.pictures)
                    shown = [self.samples[k] for k in chosen]
                    path = self.out / 'samples.png'
                    self.task.draw(path, state.network, shown, result.threshold)

    def _report(self, result: Verdict, advance: Advance) -> None:
        step = self.state.progress.step
        row = {'step': step, 'threshold': result.threshold, 'mean': round(result.mean, 5)}
        row |= {key: round(value, 5) for key, value in result.values().items()}
        self.validations.add(row)
        self.events.add(step, row, 'validation')
        if self.recipe.pictures:
            rows = self.table.rows, self.validations.rows
            pictures.draw_curves(self.out / 'curves.png', *rows)
        text = f'validation {result.in_words()}, threshold {result.threshold}'
        advance(step, text, line=True)

    def _export(self, names: list[str]) -> None:
        progress = self.state.progress
        for name in names:
            export.save(
                self.out / f'{name}.safetensors', self.state.network, self.recipe, self.card,
                progress, self.about,
            )  # fmt: skip

    def _checkpoint(self) -> None:
        self._saved = time.perf_counter()
        if self.first:
            recipe = self.recipe.model_dump()
            stored = {**self.state.stored(), 'recipe': recipe, 'world': self.plan.world}
            checkpoints.save_checkpoint(self.out / checkpoints.NAME, stored)
        self.fabric.barrier()

    def _verdict(self, deadline: float, stopped: Any) -> str:
        """Return why to stop, or `done`; all processes agree."""
        mine = 'done'
        if stopped():
            mine = 'interrupted'
        elif time.perf_counter() >= deadline:
            mine = 'time'
        return str(self.fabric.broadcast(mine)) if self.plan.world > 1 else mine

    def _finish(self, verdict: str, advance: Advance) -> None:
        self._checkpoint()
        if self.first:
            with self.state.averaged():
                self._export(['last'])
            self.events.close()
            advance(self.state.progress.step, f'stopped: {verdict}', line=verdict != 'done')
