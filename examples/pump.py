#!/usr/bin/env python3
"""A table to try isovae on: readings of a pump, simulated, with three things that vary.

    python3 pump.py ROWS SEED [leak]

Speed, valve and weather are drawn; the seven columns follow from them and have some noise each. With
"leak" a tenth of the flow is lost behind the meter of the pressure: every reading by itself stays in its
usual range, but they do not fit together any more. Needs nothing but Python.
"""
import math
import random
import sys


def reading(draw, leak):
    speed = draw.uniform(900, 1500)  # per minute
    valve = draw.uniform(0.35, 1)  # share that is open
    ambient = draw.gauss(18, 5)  # degrees
    lift = 40 * (speed / 1500) ** 2  # metres, without flow
    flow = math.sqrt(lift / (0.002 + 0.006 / valve**2))  # cubic metres an hour
    pressure = (lift - 0.002 * flow**2) * 0.0981  # bar
    efficiency = 0.72 - 0.4 * (flow / speed * 25 - 1) ** 2
    power = flow / 3600 * pressure * 100 / efficiency  # kilowatts
    motor = ambient + 9 + 14 * power
    vibration = 0.8 + 1.6 * (speed / 1500) ** 4  # mm/s
    if leak:
        flow *= 0.9

    def seen(value, noise):
        return value + draw.gauss(0, noise)

    return [
        f"{seen(speed, 3):.1f}",
        f"{seen(flow, 0.4):.2f}",
        f"{seen(pressure, 0.02):.3f}",
        f"{seen(power, 0.01):.3f}",
        f"{seen(motor, 0.3):.2f}",
        f"{seen(ambient, 0.2):.2f}",
        f"{seen(vibration, 0.03):.3f}",
    ]


def main():
    rows, seed = int(sys.argv[1]), int(sys.argv[2])
    draw = random.Random(seed)
    print("speed,flow,pressure,power,motor,ambient,vibration")
    for _ in range(rows):
        print(",".join(reading(draw, "leak" in sys.argv[3:])))


if __name__ == "__main__":
    main()
