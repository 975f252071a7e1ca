// Stands for the gauges at sea: their levels in cm. A second here is ten minutes there.
const gauges = { Texel: [82, 0], Harlingen: [104, 1.1],
  Delfzijl: [148, 2.4], Vlissingen: [186, 4.2] };

export const stations = Object.keys(gauges);

export function read(station, ms = Date.now()) {
  const [[height, phase], hours] = [gauges[station], ms / 6000];
  const tide = Math.sin((hours / 12.42) * 2 * Math.PI + phase);
  return Math.round(height * (tide + 0.06 * Math.sin(hours * 5.1 + phase)));
}
