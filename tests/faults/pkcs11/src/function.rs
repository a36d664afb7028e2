//! The functions of PKCS#11, by the names that the standard gives them.
//!
//! One list for everybody: scripts name them, the tally counts by them, the function lists are made of
//! them. It has those of version 2.40 and those that 3.0 added, except the three that hand out the lists.

use std::fmt;
use std::str::FromStr;

/// Calls a macro with all names, as `{ [of 2.40] [added by 3.0] }`.
macro_rules! with_functions {
    ($then:ident) => {
        $then! {
            [
                C_Initialize C_Finalize C_GetInfo C_GetSlotList C_GetSlotInfo C_GetTokenInfo
                C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession
                C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState
                C_SetOperationState C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject
                C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit
                C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate
                C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit
                C_Digest C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate
                C_SignFinal C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate
                C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate
                C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey
                C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom C_GenerateRandom
                C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
            ]
            [
                C_LoginUser C_SessionCancel C_MessageEncryptInit C_EncryptMessage
                C_EncryptMessageBegin C_EncryptMessageNext C_MessageEncryptFinal
                C_MessageDecryptInit C_DecryptMessage C_DecryptMessageBegin C_DecryptMessageNext
                C_MessageDecryptFinal C_MessageSignInit C_SignMessage C_SignMessageBegin
                C_SignMessageNext C_MessageSignFinal C_MessageVerifyInit C_VerifyMessage
                C_VerifyMessageBegin C_VerifyMessageNext C_MessageVerifyFinal
            ]
        }
    };
}
pub(crate) use with_functions;

macro_rules! function_enum {
    ([$($old:ident)*] [$($new:ident)*]) => {
        /// A function of PKCS#11.
        #[expect(non_camel_case_types, reason = "the names of the standard")]
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Function {
            $(#[doc = concat!("`", stringify!($old), "` of version 2.40.")] $old,)*
            $(#[doc = concat!("`", stringify!($new), "`, added by version 3.0.")] $new,)*
        }

        impl Function {
            /// Every function, in the order of the tally.
            pub const ALL: &[Self] = &[$(Self::$old,)* $(Self::$new,)*];

            /// The name in the standard.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$old => stringify!($old),)*
                    $(Self::$new => stringify!($new),)*
                }
            }
        }
    };
}
with_functions!(function_enum);

impl Function {
    /// Its place in [`Function::ALL`].
    #[expect(clippy::as_conversions, reason = "no other way from an enum to its number")]
    pub(crate) const fn number(self) -> usize {
        self as usize
    }

    /// Whether a user who is not logged in may not call it: whatever uses a private or secret key.
    pub(crate) const fn needs_user(self) -> bool {
        matches!(
            self,
            Self::C_SignInit
                | Self::C_Sign
                | Self::C_SignUpdate
                | Self::C_SignFinal
                | Self::C_SignRecoverInit
                | Self::C_SignRecover
                | Self::C_DecryptInit
                | Self::C_Decrypt
                | Self::C_DecryptUpdate
                | Self::C_DecryptFinal
                | Self::C_GenerateKey
                | Self::C_GenerateKeyPair
                | Self::C_WrapKey
                | Self::C_UnwrapKey
                | Self::C_DeriveKey
                | Self::C_MessageSignInit
                | Self::C_SignMessage
                | Self::C_MessageDecryptInit
                | Self::C_DecryptMessage
        )
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Function {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|function| function.name() == text);
        found.copied().ok_or_else(|| format!("\"{text}\" is no function of PKCS#11"))
    }
}
