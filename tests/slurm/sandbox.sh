#!/usr/bin/env bash
# A throw-away SLURM of one machine for the tests: two nodes (cpu1, gpu1), four pretended GPUs, real queues, time limits
# and out-of-memory kills; no cgroups, no systemd; an accounting database (slurmdbd) only if it is asked for.
#   tests/slurm/sandbox.sh start [--accounting] | stop | status     (needs root, and: apt-get install slurm-wlm munge;
#                                                                  for accounting: slurmdbd mariadb-server too)
# Everything is in $SLURM_SANDBOX (default /tmp/rhoflow-slurm) but for two links in /etc/slurm, because the jobstep
# plugin takes SLURM_CONF away from its srun. Exit status 3: this machine cannot have one, and why.
set -euo pipefail
sandbox=${SLURM_SANDBOX:-/tmp/rhoflow-slurm}
host=$(hostname -s)
export SLURM_CONF="$sandbox/etc/slurm.conf"
accounting=
[ "${2:-}" != --accounting ] || accounting=slurmdbd

cannot() {
  echo "$1" >&2
  exit 3
}

check() {
  local program file
  for program in munged slurmctld slurmd srun; do
    command -v "$program" >/dev/null || cannot "no $program: apt-get install --no-install-recommends slurm-wlm munge"
  done
  for program in ${accounting:+slurmdbd mariadbd mariadb-install-db}; do
    command -v "$program" >/dev/null || cannot "no $program: apt-get install --no-install-recommends slurmdbd mariadb-server"
  done
  [ "$(id -u)" = 0 ] || cannot "the sandbox SLURM needs root (munged's key, devices of the pretended GPUs)"
  for file in slurm.conf gres.conf; do
    [ ! -e "/etc/slurm/$file" ] || [ "$(readlink "/etc/slurm/$file")" = "$sandbox/etc/$file" ] \
      || cannot "/etc/slurm/$file is there: this machine has a SLURM of its own"
  done
}

configure() {
  local k gpus="Count=4"
  mkdir -p "$sandbox"/{etc,run,log,state,spool,dev} /etc/slurm
  chmod 755 "$sandbox" "$sandbox"/{run,log} && chmod 700 "$sandbox/etc"
  # slurmd wants character devices; copies of /dev/null will do, and where none can be made GPUs are only counted.
  for k in 0 1 2 3; do
    [ -c "$sandbox/dev/nvidia$k" ] || mknod "$sandbox/dev/nvidia$k" c 1 3 || true
  done
  [ ! -c "$sandbox/dev/nvidia3" ] || gpus="File=$sandbox/dev/nvidia[0-3] Flags=nvidia_gpu_env"
  printf 'AutoDetect=off\nNodeName=gpu1 Name=gpu Type=h100 %s\n' "$gpus" >"$sandbox/etc/gres.conf"
  if [ ! -s "$sandbox/etc/munge.key" ]; then
    (umask 277 && dd if=/dev/urandom of="$sandbox/etc/munge.key" bs=1024 count=1 status=none)
  fi
  cat >"$SLURM_CONF" <<CONF
ClusterName=sandbox
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket=$sandbox/run/munge.sock
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Kills a job that uses more memory than it asked for, checked every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmctldPidFile=$sandbox/run/slurmctld.pid
SlurmdPidFile=$sandbox/run/slurmd.%n.pid
SlurmctldLogFile=$sandbox/log/slurmctld.log
SlurmdLogFile=$sandbox/log/slurmd.%n.log
SlurmdSpoolDir=$sandbox/spool/%n
StateSaveLocation=$sandbox/state
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=600
InactiveLimit=0
KillWait=2
ReturnToService=2
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/${accounting:-none}
${accounting:+AccountingStorageHost=localhost
AccountingStoragePort=16819
AccountingStorageUser=root
AccountingStoragePass=$sandbox/run/munge.sock
AccountingStorageTRES=gres/gpu}
# Sizes are pretended: tests wait more than they compute.
NodeName=cpu1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=16 RealMemory=64000 State=UNKNOWN
NodeName=gpu1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=16 RealMemory=64000 Gres=gpu:h100:4 Feature=h100 State=UNKNOWN
PartitionName=cpu Nodes=cpu1 Default=YES MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
CONF
  ln -sfn "$sandbox/etc/slurm.conf" /etc/slurm/slurm.conf
  ln -sfn "$sandbox/etc/gres.conf" /etc/slurm/gres.conf
}

database() {
  local data="$sandbox/mysql" socket="$sandbox/run/mysql.sock"
  [ -d "$data/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$data" --skip-test-db \
    --auth-root-authentication-method=normal >"$sandbox/log/mariadb-install.log" 2>&1
  # The lock's timeout is the one that slurmdbd asks for.
  mariadbd --no-defaults --user=root --datadir="$data" --socket="$socket" --port=13306 --bind-address=127.0.0.1 \
    --pid-file="$sandbox/run/mariadbd.pid" --innodb-lock-wait-timeout=900 --skip-log-bin \
    >"$sandbox/log/mariadbd.log" 2>&1 </dev/null &
  answers_soon mariadb --no-defaults --user=root --socket="$socket" --execute "select 1"
  mariadb --no-defaults --user=root --socket="$socket" --execute "create database if not exists slurm_acct_db;
    create user if not exists 'slurm'@'127.0.0.1' identified by 'slurm';
    create user if not exists 'slurm'@'localhost' identified by 'slurm';
    grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1'; grant all on slurm_acct_db.* to 'slurm'@'localhost';"
  (umask 077 && cat >"$sandbox/etc/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$sandbox/run/munge.sock
DbdHost=localhost
DbdPort=16819
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile=$sandbox/log/slurmdbd.log
PidFile=$sandbox/run/slurmdbd.pid
CONF
  slurmdbd
  answers_soon sacctmgr --noheader list cluster
  sacctmgr --immediate add cluster sandbox >/dev/null || true  # there already after a restart
  sacctmgr --immediate add account demo Description=demo Organization=demo >/dev/null || true
  sacctmgr --immediate add user root Account=demo AdminLevel=Admin >/dev/null || true
}

answers_soon() {
  for _ in $(seq 150); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  echo "no answer: $*" >&2
  tail -n 5 "$sandbox"/log/*.log >&2
  exit 1
}

both_idle() {
  [ "$(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | sort -u | wc -l)" = 2 ]
}

answers() {
  [ -e "$SLURM_CONF" ] && timeout 20 sinfo >/dev/null 2>&1
}

start() {
  check
  if ! answers; then
    configure
    munged --force --key-file="$sandbox/etc/munge.key" --socket="$sandbox/run/munge.sock" \
      --pid-file="$sandbox/run/munged.pid" --log-file="$sandbox/log/munged.log" --seed-file="$sandbox/run/munged.seed"
    [ -z "$accounting" ] || database
    slurmctld
    slurmd -N cpu1
    slurmd -N gpu1
    for _ in $(seq 150); do
      both_idle && break
      sleep 0.2
    done
    both_idle || {
      tail -n 5 "$sandbox"/log/*.log >&2
      exit 1
    }
  fi
  echo "$SLURM_CONF"
}

stop() {
  local daemon file
  scancel --user root 2>/dev/null || true
  for daemon in slurmd.cpu1 slurmd.gpu1 slurmctld slurmdbd mariadbd munged; do
    file="$sandbox/run/$daemon.pid"
    [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null || true
  done
  for file in slurm.conf gres.conf; do
    [ "$(readlink "/etc/slurm/$file")" != "$sandbox/etc/$file" ] || rm "/etc/slurm/$file"
  done
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  status) answers && sinfo --Node --format='%N %P %t %c %m %G' && squeue ;;
  *) cannot "usage: $0 start [--accounting] | stop | status" ;;
esac
