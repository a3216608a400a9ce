#!/usr/bin/env bash
# Makes .venv with everything that the project needs; does nothing when that is up to date.
#
# PYTHON=/path/to/python   takes this interpreter instead of looking for one (3.10 to 3.12)
# RECON3D_VENV=folder      makes the environment there instead of in .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${RECON3D_VENV:-.venv}
stamp=$venv/.recon3d-setup
debian_packages=(libusb-1.0-0 libgl1 libgomp1 libx11-6)
# The ROS wheels restart Python once and mark it; that mark must not reach another Python.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONHOME

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

install_debian_packages() {
  command -v dpkg-query >/dev/null || return 0
  local missing=() package
  for package in "${debian_packages[@]}"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *' installed' ]] ||
      missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  local command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "installing Debian packages: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive bash -c "$command" >&2 ||
      say "warning: these packages could not be installed; Open3D needs them: ${missing[*]}"
  else
    say "warning: Open3D needs system libraries that are missing. Install them with:"
    say "  sudo sh -c '$command'"
  fi
}

# Succeeds where $1 is a Python 3.10-3.12 that is not itself a virtual environment.
suitable() {
  "$1" -c 'import sys, venv, ensurepip
ok = (3, 10) <= sys.version_info < (3, 13) and sys.prefix == sys.base_prefix
sys.exit(not ok)' >/dev/null 2>&1
}

candidates() {
  if [[ -n ${PYTHON:-} ]]; then
    echo "$PYTHON"
    return
  fi
  # With ROS sourced its own Python comes first; otherwise the versions that have ROS wheels.
  [[ $1 == installation ]] && printf '%s\n' python3 /usr/bin/python3
  printf '%s\n' python3.11 python3.12 python3 python3.10
  compgen -G '/usr/bin/python3.1[0-2]' || true
  compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.1[0-2].*/bin/python3" || true
}

find_python() {
  local candidate
  while read -r candidate; do
    suitable "$candidate" || continue
    if [[ $1 != installation ]] || "$candidate" -c 'import rclpy' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done < <(candidates "$1")
  return 1
}

ros_sourced() { [[ -n ${ROS_DISTRO:-} || -n ${AMENT_PREFIX_PATH:-} ]]; }

choose() {  # sets `ros` (installation, wheels or none) and `python`
  ros=wheels
  if ros_sourced; then
    if python=$(find_python installation); then
      ros=installation
      return
    fi
    say 'note: ROS is sourced, but no Python 3.10-3.12 found here imports rclpy; taking the wheels.'
  fi
  python=$(find_python wheels) || fail \
    "no Python 3.10, 3.11 or 3.12 with venv and ensurepip was found${PYTHON:+ at PYTHON=$PYTHON}." \
    'Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it:' \
    'make PYTHON=/path/to/python3.11 ...'
  if [[ $("$python" -c 'import sys; print(sys.version_info[1])') == 10 ]]; then
    ros=none
    say 'warning: the ROS wheels need Python 3.11 or 3.12; without them `recon3d run` works, the'
    say '  node does not. Install Python 3.11, or source a ROS installation, and run this again.'
  fi
}

fingerprint() {
  {
    pwd
    echo "${ROS_DISTRO:-} ${PYTHON:-}" "$(ros_sourced && echo sourced)"
    cat requirements/*.txt setup.py setup.cfg package.xml scripts/setup_env.sh
  } | sha256sum | cut -d ' ' -f 1
}

install_debian_packages
now=$(fingerprint)
if [[ -x $venv/bin/python && -f $stamp && $(head -n 1 "$stamp") == "$now" ]]; then
  exit 0
fi

choose
said_before=$(sed -n 2p "$stamp" 2>/dev/null || true)
setup="$ros $("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
options=()
[[ $ros == installation ]] && options+=(--system-site-packages)
if [[ -n $said_before && $said_before != "$setup" ]]; then
  say "making $venv anew: it was for $said_before, now it is for $setup"
  options+=(--clear)
fi
if [[ ! -x $venv/bin/python || ${options[*]} == *--clear* ]]; then
  say "making $venv with $python"
  "$python" -m venv "${options[@]}" "$venv"
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
requirements=(-r requirements/base.txt -r requirements/train.txt -r requirements/dev.txt)
[[ $ros == wheels ]] && requirements+=(-r requirements/ros.txt)
say 'installing the pinned packages (the first time, this takes some minutes)'
# Modules are compiled when they are first imported: most never are.
pip install --no-compile --progress-bar off -c requirements/constraints.txt "${requirements[@]}" \
  > >(sed '/^Requirement already satisfied/d' >&2) ||
  fail 'pip could not install the packages; its message is above.' \
    'Check the network and the settings of pip (`pip config list`), then run this again.'
pip install --quiet --no-deps --no-build-isolation --editable . >&2 ||
  fail 'this package could not be installed into the environment; the message is above.'

printf '%s\n%s\n' "$now" "$setup" > "$stamp"
say "ready: $venv (ROS from: $ros, $("$venv/bin/python" --version))"
