# How each kind of target is built: one function a kind, so that CMakeLists.txt is only a list of targets and links.

add_library(interlock_flags INTERFACE)
target_compile_options(interlock_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Werror>
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror>
  $<$<AND:$<COMPILE_LANGUAGE:C>,$<C_COMPILER_ID:GNU>>:-Wno-format-truncation>
  -fstack-protector-strong -fstack-clash-protection -fno-common -fcf-protection)
if(INTERLOCK_SANITIZE)
  target_compile_options(interlock_flags INTERFACE -fsanitize=${INTERLOCK_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(interlock_flags INTERFACE -fsanitize=${INTERLOCK_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(interlock_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(INTERLOCK_FUZZ)
  target_compile_options(interlock_flags INTERFACE -fsanitize=fuzzer-no-link) # coverage also inside the libraries
endif()
target_link_options(interlock_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
target_compile_definitions(interlock_flags INTERFACE _GNU_SOURCE INTERLOCK_VERSION="${PROJECT_VERSION}")

# All of proto/ as one library: C through protoc-c, and the descriptor set that reflection serves (embedded).
function(interlock_protos target)
  set(generated ${CMAKE_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${generated})
  file(GLOB_RECURSE files RELATIVE ${CMAKE_SOURCE_DIR}/proto CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/proto/*.proto)
  set(well_known google/protobuf/any.proto google/protobuf/duration.proto google/protobuf/timestamp.proto)
  set(sources)
  foreach(file ${files})
    string(REGEX REPLACE "\\.proto$" "" stem ${file})
    add_custom_command(OUTPUT ${generated}/${stem}.pb-c.c ${generated}/${stem}.pb-c.h
      COMMAND protoc-c --c_out=${generated} -I ${CMAKE_SOURCE_DIR}/proto -I /usr/include ${file}
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${file} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/proto VERBATIM)
    list(APPEND sources ${generated}/${stem}.pb-c.c)
  endforeach()
  foreach(file ${well_known})
    string(REGEX REPLACE "\\.proto$" "" stem ${file})
    add_custom_command(OUTPUT ${generated}/${stem}.pb-c.c ${generated}/${stem}.pb-c.h
      COMMAND protoc-c --c_out=${generated} ${file} WORKING_DIRECTORY /usr/include VERBATIM)
    list(APPEND sources ${generated}/${stem}.pb-c.c)
  endforeach()
  list(TRANSFORM files PREPEND ${CMAKE_SOURCE_DIR}/proto/ OUTPUT_VARIABLE paths)
  add_custom_command(OUTPUT ${generated}/descriptors.binpb
    COMMAND protoc --include_imports --descriptor_set_out=${generated}/descriptors.binpb
            -I ${CMAKE_SOURCE_DIR}/proto -I /usr/include ${files}
    DEPENDS ${paths} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/proto VERBATIM)
  file(WRITE ${generated}/descriptors.S
    ".section .rodata\n.global proto_descriptors\n.global proto_descriptors_end\nproto_descriptors:\n"
    ".incbin \"${generated}/descriptors.binpb\"\nproto_descriptors_end:\n.section .note.GNU-stack,\"\",%progbits\n")
  set_source_files_properties(${generated}/descriptors.S PROPERTIES OBJECT_DEPENDS ${generated}/descriptors.binpb)
  add_library(${target} STATIC ${sources} ${generated}/descriptors.S)
  target_include_directories(${target} SYSTEM PUBLIC ${generated})
  target_link_libraries(${target} PUBLIC PkgConfig::libprotobuf_c)
  target_compile_options(${target} PRIVATE -w)
endfunction()

# tests/support/*.proto as a library for the tests that need messages of every shape.
function(interlock_test_protos target)
  set(generated ${CMAKE_BINARY_DIR}/test_proto)
  file(MAKE_DIRECTORY ${generated})
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.proto)
  set(sources)
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WE)
    add_custom_command(OUTPUT ${generated}/${stem}.pb-c.c ${generated}/${stem}.pb-c.h
      COMMAND protoc-c --c_out=${generated} -I ${CMAKE_SOURCE_DIR}/tests/support ${stem}.proto
      DEPENDS ${file} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/tests/support VERBATIM)
    list(APPEND sources ${generated}/${stem}.pb-c.c)
  endforeach()
  add_library(${target} STATIC EXCLUDE_FROM_ALL ${sources})
  target_include_directories(${target} SYSTEM PUBLIC ${generated})
  target_link_libraries(${target} PUBLIC PkgConfig::libprotobuf_c)
  target_compile_options(${target} PRIVATE -w)
endfunction()

# lib/<name>: public headers in include/, private ones beside the sources. A shim over a C++ library is a *.cc of it.
function(interlock_library name)
  cmake_parse_arguments(arg "" "" "LINKS;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/${name}/*.c ${CMAKE_SOURCE_DIR}/lib/${name}/*.cc)
  add_library(${name} STATIC ${sources})
  set_target_properties(${name} PROPERTIES OUTPUT_NAME interlock_${name} LINKER_LANGUAGE C)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/lib/${name}/include
                                     PRIVATE ${CMAKE_SOURCE_DIR}/lib/${name})
  target_link_libraries(${name} PUBLIC ${arg_LINKS} Threads::Threads PRIVATE ${arg_PRIVATE} interlock_flags m)
endfunction()

# SQL schemas (*.sql) become a C string `<name>_schema_sql` each, so that a binary carries its own.
function(interlock_embed_sql target directory)
  file(GLOB schemas CONFIGURE_DEPENDS ${directory}/*.sql)
  foreach(schema ${schemas})
    get_filename_component(stem ${schema} NAME_WE)
    set(source ${CMAKE_BINARY_DIR}/embedded/${target}_${stem}.S)
    file(WRITE ${source}
      ".section .rodata\n.global ${target}_${stem}_sql\n${target}_${stem}_sql:\n.incbin \"${schema}\"\n.byte 0\n"
      ".section .note.GNU-stack,\"\",%progbits\n")
    set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${schema})
    target_sources(${target}_service PRIVATE ${source})
  endforeach()
endfunction()

# services/<name>: everything but main.c is a library that unit tests link; the program is interlock-<name>.
function(interlock_service name)
  cmake_parse_arguments(arg "" "" "LINKS;PRIVATE" ${ARGN})
  set(directory ${CMAKE_SOURCE_DIR}/services/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.c)
  list(REMOVE_ITEM sources ${directory}/main.c)
  add_library(${name}_service STATIC ${sources})
  set_target_properties(${name}_service PROPERTIES LINKER_LANGUAGE C)
  target_include_directories(${name}_service PUBLIC ${directory})
  target_link_libraries(${name}_service PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE} interlock_flags m)
  interlock_embed_sql(${name} ${directory})
  if(EXISTS ${directory}/main.c)
    add_executable(interlock-${name} ${directory}/main.c)
    target_link_libraries(interlock-${name} PRIVATE ${name}_service interlock_flags)
    install(TARGETS interlock-${name} RUNTIME DESTINATION bin)
  endif()
endfunction()

# A program whose sources but main.c are a library, named like its folder, that unit tests link.
function(interlock_program name)
  cmake_parse_arguments(arg "" "DIRECTORY" "LINKS" ${ARGN})
  set(directory ${CMAKE_SOURCE_DIR}/${arg_DIRECTORY})
  file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.c)
  list(REMOVE_ITEM sources ${directory}/main.c)
  if(sources)
    add_library(${arg_DIRECTORY} STATIC ${sources})
    target_include_directories(${arg_DIRECTORY} PUBLIC ${directory})
    target_link_libraries(${arg_DIRECTORY} PUBLIC ${arg_LINKS} PRIVATE interlock_flags m)
    add_executable(${name} ${directory}/main.c)
    target_link_libraries(${name} PRIVATE ${arg_DIRECTORY} interlock_flags m)
    install(TARGETS ${name} RUNTIME DESTINATION bin)
  endif()
endfunction()

# A file as a NUL-terminated C string `symbol` inside `target`.
function(interlock_embed_text target symbol file)
  if(TARGET ${target})
    set(source ${CMAKE_BINARY_DIR}/embedded/${symbol}.S)
    file(WRITE ${source}
      ".section .rodata\n.global ${symbol}\n${symbol}:\n.incbin \"${file}\"\n.byte 0\n"
      ".section .note.GNU-stack,\"\",%progbits\n")
    set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${file})
    target_sources(${target} PRIVATE ${source})
  endif()
endfunction()

# tests/unit/<module>/test_<x>.c: one program each, linked with its module and whatever that module links.
function(interlock_unit_tests)
  file(GLOB files RELATIVE ${CMAKE_SOURCE_DIR}/tests/unit CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/*/test_*.c)
  foreach(file ${files})
    get_filename_component(module ${file} DIRECTORY)
    get_filename_component(stem ${file} NAME_WE)
    set(name ${module}_${stem})
    add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/unit/${file})
    if(TARGET ${module}_service)
      # A service's tests also drive it as its clients do.
      set(library ${module}_service client)
    else()
      set(library ${module})
    endif()
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support ${CMAKE_SOURCE_DIR}/lib/${module})
    target_link_libraries(${name} PRIVATE ${library} PkgConfig::cmocka interlock_flags m)
    if(module STREQUAL "wire")
      target_link_libraries(${name} PRIVATE test_protos proto)
    endif()
    target_compile_definitions(${name} PRIVATE TEST_DATA_DIR="${CMAKE_SOURCE_DIR}/tests/unit/${module}")
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS unit)
  endforeach()
endfunction()

# tests/fault/test_<module>[_<x>].c: one program each, in which every allocation can be made to fail
# (tests/support/fail_allocation.h); linked as the unit tests of that module are.
function(interlock_fault_tests)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fault/test_*.c)
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WE)
    string(REGEX REPLACE "^test_([a-z]+).*$" "\\1" module ${stem})
    set(name fault_${stem})
    if(TARGET ${module}_service)
      set(library ${module}_service)
    else()
      set(library ${module})
    endif()
    add_executable(${name} ${file} ${CMAKE_SOURCE_DIR}/tests/support/fail_allocation.c)
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support ${CMAKE_SOURCE_DIR}/tests/unit/${module}
                                               ${CMAKE_SOURCE_DIR}/lib/${module})
    target_link_libraries(${name} PRIVATE ${library} proto PkgConfig::jansson PkgConfig::cmocka interlock_flags m)
    if(module STREQUAL "wire")
      target_link_libraries(${name} PRIVATE test_protos)
    endif()
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS fault)
  endforeach()
endfunction()

# tests/sim: services made of their real parts, with a network, clocks and crashes that a seed decides.
function(interlock_sim_tests)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.c)
  if(sources)
    add_executable(sim_history ${sources})
    target_include_directories(sim_history PRIVATE ${CMAKE_SOURCE_DIR}/tests/sim ${CMAKE_SOURCE_DIR}/lib/control)
    target_link_libraries(sim_history PRIVATE audit_service policy_service signer_service interlock_flags m)
    add_test(NAME sim_history COMMAND sim_history WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
    set_tests_properties(sim_history PROPERTIES TIMEOUT 120 LABELS sim)
  endif()
endfunction()

# tests/fuzz/fuzz_<module>_<x>.c: a decoder each. With INTERLOCK_FUZZ they are libFuzzer programs; without, a driver runs
# them once over their corpus (tests/fuzz/corpus/<x>), so that every build keeps them alive.
function(interlock_fuzz_targets)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "^fuzz_([a-z]+)_.*$" "\\1" module ${name})
    if(TARGET ${module}_service)
      set(library ${module}_service)
    else()
      set(library ${module})
    endif()
    add_executable(${name} ${file})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/lib/${module})
    target_link_libraries(${name} PRIVATE ${library} interlock_flags m)
    if(module STREQUAL "wire")
      target_link_libraries(${name} PRIVATE test_protos proto)
    endif()
    set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    if(INTERLOCK_FUZZ)
      target_link_options(${name} PRIVATE -fsanitize=fuzzer)
      # libFuzzer writes what it finds into the first folder.
      set(found ${CMAKE_BINARY_DIR}/corpus/${name})
      file(MAKE_DIRECTORY ${found})
      list(PREPEND corpus ${found})
    else()
      target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.c)
    endif()
    add_test(NAME ${name} COMMAND ${name} -runs=20000 -max_total_time=10 ${corpus})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
  endforeach()
endfunction()

# bench/<x>_bench.c: one program each; scripts/bench runs them from a release build.
function(interlock_benches)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*_bench.c)
  # What several benches share is every other source of the folder.
  file(GLOB shared CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*.c)
  list(REMOVE_ITEM shared ${files})
  add_library(bench_shared STATIC EXCLUDE_FROM_ALL ${shared})
  target_include_directories(bench_shared PUBLIC ${CMAKE_SOURCE_DIR}/bench)
  target_link_libraries(bench_shared PRIVATE interlock_flags m)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    add_executable(${name} EXCLUDE_FROM_ALL ${file})
    target_link_libraries(${name} PRIVATE base wire store crypto merkle rpc client cel policies proto PkgConfig::grpc
                                          PkgConfig::jansson
                                          bench_shared interlock_flags m)
    # <service>_bench.c and <service>_<x>_bench.c measure the inside of that service.
    string(REGEX REPLACE "_.*$" "" module ${name})
    if(TARGET ${module}_service)
      target_link_libraries(${name} PRIVATE ${module}_service)
    endif()
    set_property(GLOBAL APPEND PROPERTY INTERLOCK_BENCHES ${name})
  endforeach()
  get_property(benches GLOBAL PROPERTY INTERLOCK_BENCHES)
  add_custom_target(benches DEPENDS ${benches})
endfunction()

# What a user runs, without tests and benches.
function(interlock_programs)
  add_custom_target(programs DEPENDS interlock interlock-signer interlock-audit interlock-graph interlock-memory interlock-policy)
endfunction()
