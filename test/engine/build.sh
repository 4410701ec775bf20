#!/usr/bin/env bash
# Builds a real llama-server from what two npm packages carry (llama.cpp's release source and its prebuilt libraries).
# Needs git, cmake, ninja, g++ and libssl-dev (Debian's packages), and about three minutes of CPU once; the result is
# kept in ~/.cache/weir-engine (or WEIR_ENGINE_HOME). Prints the folder that llama-server must be started from.
set -euo pipefail
home=${WEIR_ENGINE_HOME:-$HOME/.cache/weir-engine}
bins=$home/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
if [ ! -x "$bins/llama-server" ]; then
  command -v ninja >/dev/null || { apt-get update -qq && apt-get install -y -qq ninja-build cmake g++ libssl-dev git >/dev/null; }
  mkdir -p "$home"; cd "$home"; [ -f package.json ] || npm init -y >/dev/null
  npm i --ignore-scripts --omit=optional --no-audit --no-fund node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1 >&2
  rm -rf llama.cpp; git clone -q node_modules/node-llama-cpp/llama/gitRelease.bundle llama.cpp; cd llama.cpp
  cmake -G Ninja -S . -B b -DCMAKE_OPTIMIZE_DEPENDENCIES=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DCMAKE_C_FLAGS_RELEASE="-O1 -DNDEBUG" \
    -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF >&2
  ninja -C b mtmd server-context llama-server-impl cpp-httplib vendor-hash llama-ui llama-common-base tools/server/CMakeFiles/llama-server.dir/main.cpp.o >&2
  cd b && c++ tools/server/CMakeFiles/llama-server.dir/main.cpp.o -o "$bins/llama-server" tools/server/libllama-server-impl.a tools/server/libserver-context.a tools/mtmd/libmtmd.a \
    vendor/hash/libvendor-hash.a tools/ui/libllama-ui.a vendor/cpp-httplib/libcpp-httplib.a common/libllama-common-base.a -L"$bins" -l:libllama-common.so -l:libllama.v0.5.0.so \
    -l:libggml.v0.5.0.so -l:libggml-base.so -lssl -lcrypto -ldl -lm -Wl,-rpath,"$bins" -Wl,--allow-shlib-undefined
fi
echo "$bins"
