# Postern: one make, no recursion, no configure. Local choices go to config.mk (untracked), e.g. PREFIX = /opt/postern.
# Targets: all check unit tools fuzz soak bench demo demo-stop demo-user users install uninstall lint stats docs dist clean. BUILD=dev|release|asan|tsan|fuzz|cov; V=1 shows commands.

-include config.mk

ifneq ($(filter install uninstall,$(MAKECMDGOALS)),)
BUILD ?= release
endif
BUILD ?= dev
PREFIX ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
LIBEXECDIR ?= $(PREFIX)/libexec/postern
VERSION := 0.1.0
B := build/$(BUILD)

ifeq ($(BUILD),fuzz)
CC := clang
endif
CC_WARN := -Wall -Wextra -Werror -Wshadow -Wvla -Wcast-qual -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wno-unused-parameter
CC_COMMON := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -Ilib -I$(B)/gen -MMD -MP -fno-strict-aliasing -pipe \
	-DPOSTERN_VERSION='"$(VERSION)"' -DPOSTERN_SYSCONFDIR='"$(SYSCONFDIR)"' -DPOSTERN_LIBEXECDIR='"$(LIBEXECDIR)"' -DPOSTERN_PREFIX='"$(PREFIX)"'
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection -ftrivial-auto-var-init=zero
ifeq ($(findstring clang,$(CC)),)
CC_WARN += -Wno-format-truncation
else
# clang before 16 takes it only from who says so.
HARDEN += $(if $(shell $(CC) -ftrivial-auto-var-init=zero -fsyntax-only -x c /dev/null 2>&1),-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
endif
CFLAGS_dev := -O1 -g $(HARDEN)
CFLAGS_release := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(HARDEN)
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer $(if $(findstring clang,$(CC)),,-Wno-maybe-uninitialized)
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_cov := -O0 -g --coverage
LDFLAGS_dev := -pie -Wl,-z,relro,-z,now
LDFLAGS_release := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := -fsanitize=address,undefined
LDFLAGS_cov := --coverage
ALL_CFLAGS := $(CC_COMMON) $(CC_WARN) $(CFLAGS_$(BUILD)) $(CFLAGS)
ALL_LDFLAGS := -Wl,--as-needed $(LDFLAGS_$(BUILD)) $(LDFLAGS)
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' "$(1)" "$(2)";)

# What a library needs from the system when its objects are pulled in.
SYSLIBS_io := -lssl -lcrypto -lz
SYSLIBS_authres := -lcrypto
SYSLIBS_map := -lcdb -lpcre2-8
SYSLIBS_spam := -lm
LIB_ORDER := $(shell cat lib/ORDER)
# From high to low, as the linker wants them.
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
LIB_LINK := $(strip $(call reverse,$(LIB_ORDER)))

# The words of a module.mk. D is the folder it stands in; a source that is found from the top is of another folder.
#   $(call library,a.c b.c)                              -> lib<folder name>.a
#   $(call program,NAME,main.c …,libs[,system libs])     -> build/BUILD/NAME
#   $(call script,NAME,x.sh)                             -> build/BUILD/NAME, a program in shell; @SYSCONFDIR@ is filled in
#   $(call unittest,NAME,test_x.c …,libs[,system libs])  -> build/BUILD/t/NAME, TAP, run by "make unit"
#   $(call tool,NAME,x.c …,libs[,system libs])           -> build/BUILD/x/NAME, for tests and benches only
#   $(call fuzzer,NAME,fuzz_x.c …,libs[,system libs])    -> build/BUILD/f/NAME; without clang it replays corpora
PROGRAMS :=
UNITTESTS :=
FUZZERS :=
TOOLS :=
SOURCES :=
objs = $(patsubst %.c,$(B)/o/%.o,$(foreach f,$(1),$(if $(wildcard $(f)),$(f),$(D)/$(f))))
liblink = $(foreach l,$(filter $(1),$(LIB_LINK)),$(B)/lib$(l).a)
libsys = $(foreach l,$(filter $(1),$(LIB_LINK)),$(SYSLIBS_$(l)))
define library
$(eval $(call library_rule,$(notdir $(D)),$(call objs,$(1))))
endef
define library_rule
SOURCES += $(2)
$(B)/lib$(1).a: $(2)
	$$(call say,AR,$$@)rm -f $$@ && ar rcs $$@ $$^
endef
define program
$(eval PROGRAMS += $(1))$(eval $(call link_rule,$(B)/$(1),$(call objs,$(2)),$(3),$(4)))
endef
define script
$(eval PROGRAMS += $(1))$(eval $(call script_rule,$(B)/$(1),$(D)/$(2)))
endef
define script_rule
$(1): $(2) $(B)/places
	$$(call say,SH,$$@)sed 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $(2) > $$@ && chmod 755 $$@
endef
define unittest
$(eval UNITTESTS += $(1))$(eval $(call link_rule,$(B)/t/$(1),$(call objs,$(2)),$(3),$(4)))
endef
define fuzzer
$(eval FUZZERS += $(1))$(eval $(call link_rule,$(B)/f/$(1),$(call objs,$(2)) $(if $(filter fuzz,$(BUILD)),,$(B)/o/lib/test/fuzz_main.o),$(3),$(4) $(if $(filter fuzz,$(BUILD)),-fsanitize=fuzzer)))
endef
define tool
$(eval TOOLS += $(1))$(eval $(call link_rule,$(B)/x/$(1),$(call objs,$(2)),$(3),$(4)))
endef
define link_rule
SOURCES += $(2)
$(1): $(2) $(call liblink,$(3))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $(2) $(call liblink,$(3)) $(4) $(call libsys,$(3))
endef

all:

# Places are compiled in: when they change, what names them is compiled again.
PLACES := $(PREFIX) $(SYSCONFDIR) $(LIBEXECDIR)
ifneq ($(PLACES),$(shell cat $(B)/places 2>/dev/null))
$(shell mkdir -p $(B) && echo '$(PLACES)' > $(B)/places)
endif
PLACED := $(patsubst %.c,$(B)/o/%.o,$(shell grep -lE 'POSTERN_(SYSCONFDIR|LIBEXECDIR|PREFIX)' *d/*.c deliver/*/*.c admin/*/*.c lib/*/*.c))
$(PLACED): $(B)/places

MODULES := $(wildcard $(addsuffix /module.mk,$(addprefix lib/,$(LIB_ORDER)) smtpd imapd pop3d filterd authd \
	$(addprefix deliver/,restrict resolve policy dns sts remote local queue) $(addprefix admin/,postern setup backup report alarm alias import maps queue sendmail webmail) \
	$(addprefix admin/,dkim dmarc sockets) etc t))
define include_module
D := $(patsubst %/,%,$(dir $(1)))
include $(1)
endef
$(foreach m,$(MODULES),$(eval $(call include_module,$(m))))

$(B)/o/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -c -o $@ $<

all: $(addprefix $(B)/,$(PROGRAMS))
	@mkdir -p build && ln -sfn $(BUILD) build/current

tools: $(addprefix $(B)/x/,$(TOOLS))

unit: $(addprefix $(B)/t/,$(UNITTESTS)) $(addprefix $(B)/f/,$(FUZZERS))
	$(Q)BUILD_DIR=$(B) t/run-unit $(UNITTESTS) -- $(FUZZERS)

-include t/targets.mk
-include etc/targets.mk

stats:
	$(Q)t/stats

clean:
	rm -rf build

print-%:
	@echo '$($*)'

-include $(patsubst %.o,%.d,$(SOURCES))
.PHONY: all tools unit stats clean
.DELETE_ON_ERROR:
.SECONDARY:
