// Runs generators, compilers and clients: bounded in time, and ended with all that they started.

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Whether a program is on the path. */
export function there(program, env = process.env) {
  return env.PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Runs a command to its end. Resolves to what it printed and its exit code, which is -1 if it could not be started or
 * was ended because its minutes were over.
 */
export function run([program, ...args], { minutes = 10, ...options } = {}) {
  // A group of its own, because compilers start others.
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...options });
  const kill = () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  };
  process.once('exit', kill);
  let stdout = '';
  let output = '';
  child.stdout.on('data', (chunk) => { stdout += chunk; output += chunk; });
  child.stderr.on('data', (chunk) => { output += chunk; });
  return new Promise((resolve) => {
    const end = (code) => {
      clearTimeout(late);
      process.removeListener('exit', kill);
      resolve({ code, stdout, output });
    };
    const late = setTimeout(() => {
      output += `\nnot done after ${minutes} minutes`;
      kill();
    }, minutes * 60_000);
    child.once('error', (error) => { output += error; end(-1); });
    child.once('close', (code) => end(code ?? -1));
  });
}

/** The same, for what must work. */
export async function must(command, options) {
  const done = await run(command, options);
  if (done.code !== 0) throw new Error(`${command.join(' ')}\nended with ${done.code}:\n${done.output.slice(-4_000)}`);
  return done;
}
