# Targets of the whole: tests, demo, benchmarks.

check:
	$(Q)t/deps check
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) all tools
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) unit
	$(Q)POSTERN_BUILD=$(BUILD) t/run-system $(T)

demo:
	$(Q)t/deps demo
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) BUILD=release all
	$(Q)t/demo start

demo-stop:
	$(Q)t/demo stop

demo-user:
	$(Q)NAME='$(subst ','\'',$(NAME))' PASS='$(subst ','\'',$(PASS))' t/demo user

# The long form of the randomised tests: ten thousand operations with kills.
soak: all tools
	$(Q)t/deps check
	$(Q)POSTERN_SOAK=10000 POSTERN_BUILD=$(BUILD) t/run-system t/imapd/test_oracle.py

# INSTALL's commands in a fresh Debian, which is built there.
install-test:
	$(Q)t/deps install-test
	$(Q)t/launch/install_test

bench:
	$(Q)t/deps bench
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) BUILD=release all tools
	$(Q)t/bench/run $(T)

# A crash ends it; the input is build/crash-….
fuzz: $(addprefix $(B)/f/,$(FUZZERS))
	$(Q)for f in $(FUZZERS); do echo "== $$f"; mkdir -p build/corpus-$$f; $(B)/f/$$f -max_total_time=$(or $(FUZZ_SECONDS),20) -rss_limit_mb=2048 \
		-artifact_prefix=build/crash- build/corpus-$$f t/corpus/$$f >build/fuzz.log 2>&1 || { tail -n 40 build/fuzz.log; exit 1; }; \
		tail -n 1 build/fuzz.log; done

.PHONY: check soak install-test demo demo-stop demo-user bench fuzz
